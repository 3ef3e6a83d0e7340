namespace KernelGen.Reference;

/// <summary>Activations as the oracle quantizes them.</summary>
/// <param name="Quantized">[M,K], values in [-127,127]; an outlier stands as its row's zero-point.</param>
/// <param name="Scales">[M], the value of one quantization step; NaN for a row with a value that is not finite.</param>
/// <param name="ZeroPoints">[M]; all zero for symmetric activations.</param>
/// <param name="Outliers">[M,K], which values are multiplied in 16 bits.</param>
public sealed record ReferenceActivations(int[,] Quantized, float[] Scales, int[] ZeroPoints, bool[,] Outliers);
