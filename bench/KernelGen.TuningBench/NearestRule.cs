using System.Globalization;
using KernelGen.Tuning;

namespace KernelGen.TuningBench;

/// <summary>What the rule for untuned shapes is worth: each shape takes the choice of the others' nearest, with its own left out.</summary>
internal static class NearestRule
{
    public static void Summarize(List<ComparedShape> rows)
    {
        List<double> nearest = [], untuned = [];
        foreach (ComparedShape row in rows)
        {
            ShapeTable<string> others = new(rows.Where(other => other != row)
                .Select(static other => new ShapeEntry<string>(new ShapeKey(other.Bucket, other.Shape.N, other.Shape.K), false, other.Chosen)));
            double best = row.Times.Values.Min();

            // A choice that is none of this shape's variants does the same as one of them, which is not known here.
            if (others.Nearest(new ShapeKey(row.Bucket, row.Shape.N, row.Shape.K)) is { } choice && row.Times.TryGetValue(choice, out double time))
            {
                nearest.Add(time / best);
                untuned.Add(row.Times[row.Untuned] / best);
            }
        }

        if (nearest.Count > 0)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"nearest record, a shape's own left out: {nearest.Count} shapes, {Mean(nearest):F3} times the best in the geometric mean, {nearest.Max():F2} at most; the rules without records {Mean(untuned):F3}, {untuned.Max():F2} at most"));
        }
    }

    private static double Mean(List<double> ratios) => Math.Exp(ratios.Average(Math.Log));
}
