using KernelGen.Backends.Cuda;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>How a device holds and multiplies a model's matrices.</summary>
/// <param name="Kernels">The int8 kernels; null for 16-bit activations.</param>
/// <param name="IsInt8">Whether the weights are int8.</param>
/// <param name="KeepsOriginals">Whether the 16-bit weights stay beside the int8 ones, for outlier columns, which the device finds without asking the host.</param>
internal sealed record DeviceScheme(Int8KernelSet? Kernels, bool IsInt8, bool KeepsOriginals)
{
    /// <summary>Bytes of a matrix with its statistics and bias.</summary>
    /// <param name="matrix">The matrix.</param>
    /// <param name="storedBytes">Bytes of a weight as the checkpoint stores it.</param>
    public long BytesOf(MatrixPlan matrix, int storedBytes)
    {
        long n = matrix.OutputFeatures, k = matrix.InputFeatures, padded = RoundUp(n, CudaInt8Weights.TilePadding);
        long bias = matrix.HasBias ? padded * sizeof(float) : 0;
        long originals = KeepsOriginals && storedBytes > 1 ? n * k * storedBytes : 0;
        return IsInt8
            ? (n * RoundUp(k, CudaInt8Weights.KBlock)) + (padded * CudaInt8Weights.StatisticsBytes) + bias + originals
            : (n * k * sizeof(ushort)) + bias;
    }

    /// <summary>Bytes of a matrix with its statistics and bias.</summary>
    /// <param name="matrix">The matrix.</param>
    /// <param name="storedBytes">Bytes of a weight as the checkpoint stores a layer.</param>
    public long BytesOf(MatrixPlan matrix, Func<Transformers.LinearDescription, int> storedBytes) => BytesOf(matrix, matrix.Runs.Min(run => storedBytes(run.Source)));

    /// <summary>Bytes of all parameters of a model in 16 bits, for comparison.</summary>
    public static long SixteenBitBytesOf(DecoderPlan plan)
    {
        DecoderDescription description = plan.Description;
        long values = plan.Matrices.Sum(static matrix => (long)matrix.OutputFeatures * (matrix.InputFeatures + (matrix.HasBias ? 1 : 0)))
            + plan.Norms.Sum(static norm => (long)norm.Size * ((norm.IsAffine ? 1 : 0) + (norm.HasBias ? 1 : 0)))
            + ((long)description.TokenEmbedding.Rows * description.TokenEmbedding.Size * (description.OutputEmbedding is null ? 1 : 2))
            + (description.Positions is LearnedPositions learned ? (long)learned.Table.Rows * learned.Table.Size : 0);
        return values * sizeof(ushort);
    }

    public static long RoundUp(long value, long multiple) => (value + multiple - 1) / multiple * multiple;
}
