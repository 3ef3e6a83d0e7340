using System.Numerics.Tensors;
using KernelGen.Backends.Cpu;
using KernelGen.Kernels;
using KernelGen.Memory;
using KernelGen.Quantization;

namespace KernelGen.MatMul;

/// <summary>
/// Steps 1 and 2 of LLM.int8() (arXiv 2208.07339, section 3): find what leaves for 16 bits, quantize the rest row by row.
/// </summary>
internal sealed unsafe class ActivationQuantizer(Int8Spec spec, CpuKernelFamily family, float threshold, int maxDegreeOfParallelism)
{
    /// <summary>Values worth waking a thread for.</summary>
    private const int ValuesPerThread = 1 << 17;

    public QuantizedActivations Quantize<T>(ActivationMatrix<T> a, int[] fixedColumns)
        where T : unmanaged
    {
        QuantizedActivations result = new(a.Rows, a.K, family.Format, family.Variants[^1].Tile.M);
        int paddedK = (a.K + 63) & ~63;
        using Workspace scratch = Workspace.Rent(Workspace.SizeOf<int>(paddedK) + Workspace.SizeOf<RowRange>(a.Rows));
        int* keep = scratch.Take<int>(paddedK);
        RowRange* ranges = scratch.Take<RowRange>(a.Rows);
        int[] columns = [];
        if (spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Fixed)
        {
            new Span<int>(keep, paddedK).Fill(-1);
            if (spec.Outliers == OutlierPolicy.Columns)
            {
                MarkOutlierColumns(a, keep, paddedK, ranges);
            }

            foreach (int column in fixedColumns)
            {
                keep[column] = 0;
            }

            columns = MaskedColumns(new ReadOnlySpan<int>(keep, a.K));
            result.Outliers = new RowOutliers(columns, a.Rows);
        }

        int[] counts = spec.Outliers == OutlierPolicy.Elements ? new int[a.Rows] : [];
        bool oneScale = spec.Granularity == QuantizationGranularity.Tensor;
        if (oneScale)
        {
            // One scale for all rows, so the range of all comes first. A row that is not finite does not take part.
            ForRows(a, (m, row) => ranges[m] = RangeOf(m, row));
            RowRange all = new(true, 0, 0, 0);
            for (int m = 0; m < a.Rows; m++)
            {
                all = ranges[m].Finite ? all with { Low = Math.Min(all.Low, ranges[m].Low), High = Math.Max(all.High, ranges[m].High) } : all;
            }

            for (int m = 0; m < a.Rows; m++)
            {
                ranges[m] = all with { Finite = ranges[m].Finite };
            }
        }

        ForRows(a, (m, row) => QuantizeRow(row, a.K, keep, columns, counts, m, oneScale ? ranges[m] : RangeOf(m, row), result));
        if (spec.Outliers == OutlierPolicy.Elements)
        {
            result.Outliers = CollectElements(a, counts);
        }

        return result;

        // The search has found it already, if no column was marked after this row.
        RowRange RangeOf(int m, float* row)
        {
            if (spec.Outliers == OutlierPolicy.Columns && (!ranges[m].Finite || ranges[m].Marked == columns.Length))
            {
                return ranges[m];
            }

            bool finite = family.Rows.RowRange(ref *row, a.K, ref *keep, threshold, out float low, out float high);
            return new RowRange(finite, low, high, columns.Length);
        }
    }

    private void QuantizeRow(
        float* row, int k, int* keep, int[] columns, int[] counts, int m, RowRange range, QuantizedActivations result)
    {
        if (!range.Finite)
        {
            // What the kernels multiply must be defined; the NaN scale makes every result NaN.
            new Span<byte>(result.Row(m), (int)result.RowBytes).Clear();
            result.Scales[m] = float.NaN;
            result.ZeroPoints[m] = 0;
            return;
        }

        float prescale, scale;
        int zeroPoint = 0;
        if (spec.Activations == ActivationQuantization.Symmetric)
        {
            (prescale, scale) = AbsmaxScaling.Symmetric(range.High);
            result.Scales[m] = AbsmaxScaling.Step(range.High);
        }
        else
        {
            (prescale, scale, zeroPoint) = AbsmaxScaling.ZeroPoint(range.Low, range.High);
            result.Scales[m] = AbsmaxScaling.Step(range.Low, range.High);
        }

        result.ZeroPoints[m] = zeroPoint;
        family.QuantizeRow(ref *row, k, ref *keep, threshold, prescale, scale, zeroPoint, ref *result.Row(m));
        if (columns.Length > 0)
        {
            Span<float> values = result.Outliers.ValuesOf(m);
            for (int i = 0; i < columns.Length; i++)
            {
                values[i] = row[columns[i]];
            }
        }

        if (counts.Length > 0)
        {
            counts[m] = family.Rows.CountOutliers!(ref *row, k, threshold);
        }
    }

    /// <summary>Finds the outlier columns, and the range of every row in the columns that were not marked until then.</summary>
    private void MarkOutlierColumns<T>(ActivationMatrix<T> a, int* keep, int paddedK, RowRange* ranges)
        where T : unmanaged
    {
        object combining = new();
        CpuParallel.ForRanges(a.Rows, Grain(a.K), maxDegreeOfParallelism, (first, end) =>
        {
            using Workspace scratch = Workspace.Rent(Workspace.SizeOf<float>(a.K) + Workspace.SizeOf<int>(paddedK));
            float* converted = scratch.Take<float>(a.K);
            int* mine = scratch.Take<int>(paddedK);
            new Span<int>(mine, paddedK).Fill(-1);
            int marked = 0;
            for (int m = first; m < end; m++)
            {
                int more = family.Rows.MarkOutlierColumns!(ref *a.Row(m, converted), a.K, threshold, ref *mine, out float low, out float high);
                marked += Math.Max(more, 0);
                ranges[m] = new RowRange(more >= 0, low, high, marked);
            }

            lock (combining)
            {
                TensorPrimitives.BitwiseAnd<int>(
                    new ReadOnlySpan<int>(keep, paddedK), new ReadOnlySpan<int>(mine, paddedK), new Span<int>(keep, paddedK));
            }
        });
    }

    private RowOutliers CollectElements<T>(ActivationMatrix<T> a, int[] counts)
        where T : unmanaged
    {
        int[] starts = new int[counts.Length + 1];
        for (int m = 0; m < counts.Length; m++)
        {
            starts[m + 1] = checked(starts[m] + counts[m]);
        }

        if (starts[^1] == 0)
        {
            return new RowOutliers([], a.Rows);
        }

        int[] columns = new int[starts[^1]];
        float[] values = new float[starts[^1]];
        ForRows(a, (m, row) =>
        {
            if (counts[m] > 0)
            {
                family.Rows.CollectOutliers!(ref *row, a.K, threshold, ref columns[starts[m]], ref values[starts[m]]);
            }
        });
        return new RowOutliers(starts, columns, values, a.K);
    }

    private void ForRows<T>(ActivationMatrix<T> a, RowBody body)
        where T : unmanaged
    {
        CpuParallel.ForRanges(a.Rows, Grain(a.K), maxDegreeOfParallelism, (first, end) =>
        {
            using Workspace scratch = a.RentScratch();
            float* converted = scratch.Take<float>(a.K);
            for (int m = first; m < end; m++)
            {
                body(m, a.Row(m, converted));
            }
        });
    }

    private static int[] MaskedColumns(ReadOnlySpan<int> keep)
    {
        List<int> columns = [];
        int column = -1;
        while (keep[(column + 1)..].IndexOf(0) is var next and >= 0)
        {
            column += next + 1;
            columns.Add(column);
        }

        return [.. columns];
    }

    private static int Grain(int k) => 1 + (ValuesPerThread / k);

    private delegate void RowBody(int m, float* row);

    /// <summary>A row's values that stay in the int8 part.</summary>
    /// <param name="Finite">No value of the row, an outlier or not, is a NaN or an infinity.</param>
    /// <param name="Low">min(0, smallest value); 0 for symmetric activations.</param>
    /// <param name="High">max(0, largest value); the absmax for symmetric activations.</param>
    /// <param name="Marked">Columns that the search had left out by then, which are all there are if they are as many.</param>
    private readonly record struct RowRange(bool Finite, float Low, float High, int Marked);
}
