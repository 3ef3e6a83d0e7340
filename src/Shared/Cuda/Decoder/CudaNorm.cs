namespace KernelGen;

/// <summary>What a row is divided by before it goes on. The numbers are part of the kernels' parameters.</summary>
internal enum CudaNorm
{
    /// <summary>Nothing: the row itself.</summary>
    None,

    /// <summary>Layer norm: <c>(x - mean) / sqrt(variance + epsilon)</c>.</summary>
    Layer,

    /// <summary>Root-mean-square norm (arXiv 1910.07467): <c>x / sqrt(mean(x^2) + epsilon)</c>.</summary>
    RootMeanSquare,
}
