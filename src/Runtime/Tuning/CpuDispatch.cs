using KernelGen.Kernels;
using KernelGen.MatMul;

namespace KernelGen.Tuning;

/// <summary>What a set of kernels does for a shape on this processor, by the tuning records.</summary>
internal sealed class CpuDispatch
{
    private readonly Int8KernelSet _set;
    private readonly Lazy<CpuTuningSpace> _space;
    private readonly CpuSchedule[][] _defaults;
    private readonly TuningDispatch<Choice> _dispatch;

    public CpuDispatch(Int8KernelSet set)
    {
        _set = set;
        _space = new Lazy<CpuTuningSpace>(() => new CpuTuningSpace(set));
        _defaults = [.. Buckets().Select(bucket => set.CpuFamilies.Select(family => CpuSchedule.Default(family, RowBucket.From(bucket))).ToArray())];
        _dispatch = new TuningDispatch<Choice>(Build);
    }

    /// <summary>What there is to choose from.</summary>
    public CpuTuningSpace Space => _space.Value;

    /// <summary>How to cut a multiplication whose weights are packed already.</summary>
    public CpuSchedule Schedule(CpuKernelFamily family, int rows, int n, int k) =>
        _dispatch.Find(rows, n, k)?.Schedules[family.Index] ?? _defaults[RowBucket.Of(rows)][family.Index];

    /// <summary>
    /// The family to pack weights for: the one whose times, over those of the fastest, have the smallest geometric mean over the buckets of M
    /// that were tuned for the layer or one near it. A family that was left behind in the first round counts as slow as that takes.
    /// </summary>
    /// <param name="n">Output features.</param>
    /// <param name="k">Input features.</param>
    /// <param name="eligible">Which families may be taken.</param>
    /// <param name="untuned">The family to take where nothing was tuned.</param>
    public CpuKernelFamily Family(int n, int k, Func<CpuKernelFamily, bool> eligible, CpuKernelFamily untuned)
    {
        ShapeTable<Choice> table = _dispatch.Table;
        Choice[] own = [.. Buckets().Where(bucket => table.IsTuned(new ShapeKey(bucket, n, k))).Select(bucket => table.Find(RowBucket.From(bucket), n, k)!)];
        Choice[] choices = own.Length > 0
            ? own
            : [.. Buckets().Select(bucket => table.Nearest(new ShapeKey(bucket, n, k))).OfType<Choice>().Distinct()];
        return _set.CpuFamilies
            .Where(family => eligible(family) && choices.Any(choice => double.IsFinite(choice.Times[family.Index])))
            .MinBy(family => choices.Sum(choice => Math.Log(
                double.IsFinite(choice.Times[family.Index]) ? choice.Times[family.Index] / choice.Times.Min() : TuningRace.GroupMargin))) ?? untuned;
    }

    private static IEnumerable<int> Buckets() => Enumerable.Range(0, RowBucket.Count);

    private ShapeTable<Choice> Build(TuningRecords records)
    {
        // No record, as on most machines: the space, some hundred names, need not be spanned.
        Action<ShapeKey>? untuned = shape => BackgroundTuner.Offer(_set, shape);
        return records.All.All(static record => record.Key.Target.Device.Kind != TuningDevice.Cpu)
            ? new ShapeTable<Choice>([], untuned)
            : new ShapeTable<Choice>(records.EntriesFor(Space.Target, "", CpuTuningSpace.Runtime, ChoiceOf), untuned);
    }

    private Choice? ChoiceOf(TuningRecord record)
    {
        CpuSchedule?[] schedules = new CpuSchedule?[_set.CpuFamilies.Count];
        double[] times = new double[_set.CpuFamilies.Count];
        Array.Fill(times, double.PositiveInfinity);
        foreach (VariantResult result in record.Variants)
        {
            if (result.Outcome is VariantOutcome.Finalist or VariantOutcome.Eliminated
                && result.Timing is { } timing && Space.Find(result.Name) is { } variant && timing.Minimum < times[variant.Family.Index])
            {
                (schedules[variant.Family.Index], times[variant.Family.Index]) = (variant.Schedule, timing.Minimum);
            }
        }

        // The choice itself counts, also where another one was faster by less than the noise.
        if (Space.Find(record.Chosen) is not { } chosen)
        {
            return null;
        }

        (schedules[chosen.Family.Index], times[chosen.Family.Index]) = (chosen.Schedule, record.Find(record.Chosen)!.Timing!.Minimum);
        return new Choice(schedules, times);
    }

    /// <param name="Schedules">Per family the fastest schedule; null where it has no times.</param>
    /// <param name="Times">Per family its fastest sample, by which variants were chosen; infinite where it has none.</param>
    private sealed record Choice(CpuSchedule?[] Schedules, double[] Times);
}
