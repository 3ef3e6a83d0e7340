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
        using Workspace masks = Workspace.Rent(Workspace.SizeOf<int>(paddedK));
        int* keep = masks.Take<int>(paddedK);
        int[] columns = [];
        if (spec.Outliers is OutlierPolicy.Columns or OutlierPolicy.Fixed)
        {
            new Span<int>(keep, paddedK).Fill(-1);
            if (spec.Outliers == OutlierPolicy.Columns)
            {
                MarkOutlierColumns(a, keep, paddedK);
            }

            foreach (int column in fixedColumns)
            {
                keep[column] = 0;
            }

            columns = MaskedColumns(new ReadOnlySpan<int>(keep, a.K));
            result.Outliers = new RowOutliers(columns, a.Rows);
        }

        int[] counts = spec.Outliers == OutlierPolicy.Elements ? new int[a.Rows] : [];
        if (spec.Granularity == QuantizationGranularity.Tensor)
        {
            QuantizeWithOneScale(a, keep, columns, counts, result);
        }
        else
        {
            ForRows(a, (m, row) =>
            {
                bool finite = family.Rows.RowRange(ref *row, a.K, ref *keep, threshold, out float low, out float high);
                QuantizeRow(row, a.K, keep, columns, counts, m, finite, low, high, result);
            });
        }

        if (spec.Outliers == OutlierPolicy.Elements)
        {
            result.Outliers = CollectElements(a, counts);
        }

        return result;
    }

    private void QuantizeRow(
        float* row, int k, int* keep, int[] columns, int[] counts, int m, bool finite, float low, float high, QuantizedActivations result)
    {
        if (!finite)
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
            (prescale, scale) = AbsmaxScaling.Symmetric(high);
            result.Scales[m] = AbsmaxScaling.Step(high);
        }
        else
        {
            (prescale, scale, zeroPoint) = AbsmaxScaling.ZeroPoint(low, high);
            result.Scales[m] = AbsmaxScaling.Step(low, high);
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

    /// <summary>One scale for all rows, so the range of all comes first. A row that is not finite does not take part.</summary>
    private void QuantizeWithOneScale<T>(ActivationMatrix<T> a, int* keep, int[] columns, int[] counts, QuantizedActivations result)
        where T : unmanaged
    {
        bool[] finite = new bool[a.Rows];
        float[] lows = new float[a.Rows], highs = new float[a.Rows];
        ForRows(a, (m, row) =>
        {
            finite[m] = family.Rows.RowRange(ref *row, a.K, ref *keep, threshold, out float low, out float high);
            (lows[m], highs[m]) = finite[m] ? (low, high) : (0, 0);
        });
        float lowest = lows.Min(), highest = highs.Max();
        ForRows(a, (m, row) => QuantizeRow(row, a.K, keep, columns, counts, m, finite[m], lowest, highest, result));
    }

    private void MarkOutlierColumns<T>(ActivationMatrix<T> a, int* keep, int paddedK)
        where T : unmanaged
    {
        object combining = new();
        CpuParallel.ForRanges(a.Rows, Grain(a.K), maxDegreeOfParallelism, (first, end) =>
        {
            using Workspace scratch = Workspace.Rent(Workspace.SizeOf<float>(a.K) + Workspace.SizeOf<int>(paddedK));
            float* converted = scratch.Take<float>(a.K);
            int* mine = scratch.Take<int>(paddedK);
            new Span<int>(mine, paddedK).Fill(-1);
            for (int m = first; m < end; m++)
            {
                family.Rows.MarkOutlierColumns!(ref *a.Row(m, converted), a.K, threshold, ref *mine);
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
}
