using System.Globalization;
using KernelGen.Backends.Cpu;

namespace KernelGen.MatMul;

/// <summary>What every way to call a multiplication demands of its arguments.</summary>
internal static class MatrixArguments
{
    /// <summary>That a matrix with a row stride lies within its memory.</summary>
    public static void Check(string name, int length, int rows, int columns, int stride)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        if (stride < columns)
        {
            throw new ArgumentOutOfRangeException(name, stride, $"A row stride of '{name}' must be at least its {columns} columns.");
        }

        long needed = rows == 0 ? 0 : ((long)(rows - 1) * stride) + columns;
        if (length < needed)
        {
            throw new ArgumentException(
                string.Create(CultureInfo.InvariantCulture, $"'{name}' has {length} values; {rows} rows of {columns} with a stride of {stride} need {needed}."),
                name);
        }
    }

    /// <summary>That a bias is absent or has a value for every output feature.</summary>
    public static void CheckBias(ReadOnlySpan<float> bias, int outputFeatures)
    {
        if (!bias.IsEmpty && bias.Length != outputFeatures)
        {
            throw new ArgumentException($"The bias has {bias.Length} values, the weights have {outputFeatures} output features.", nameof(bias));
        }
    }

    /// <summary>That the options are possible, and that the spec has what they change.</summary>
    public static void CheckOptions(MatMulOptions options, Int8Spec spec, string kernels)
    {
        if (options.OutlierThreshold is { } threshold)
        {
            if (!(threshold > 0) || !float.IsFinite(threshold))
            {
                throw new ArgumentOutOfRangeException(nameof(options), threshold, "An outlier threshold is a positive, finite number.");
            }

            if (spec.Outliers is OutlierPolicy.None or OutlierPolicy.Fixed)
            {
                throw new ArgumentException($"An outlier threshold was given, but the policy of {kernels} is {spec.Outliers}, which has none.", nameof(options));
            }
        }

        if (!Enum.IsDefined(options.Activation))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.Activation, "Not an activation function.");
        }

        _ = CpuParallel.Degree(options.MaxDegreeOfParallelism);
    }
}
