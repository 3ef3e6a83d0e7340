namespace KernelGen;

/// <summary>
/// The register tile of a CPU microkernel: <paramref name="M"/> rows of A times <paramref name="N"/> output features, <paramref name="K"/>
/// neighbouring values of k per 32-bit lane (the "c" of the kernel's name).
/// </summary>
/// <param name="M">Rows of A, MR.</param>
/// <param name="N">Output features, NR: the width of a weight panel.</param>
/// <param name="K">Values of k that one lane of the multiply instruction sums.</param>
public readonly record struct CpuTile(int M, int N, int K)
{
    /// <summary>The smallest and largest MR that a spec may ask for.</summary>
    internal const int MinM = 1, MaxM = 16;

    /// <summary>The smallest and largest NR that a spec may ask for.</summary>
    internal const int MinN = 4, MaxN = 64;

    /// <inheritdoc/>
    public override string ToString() => $"{M}x{N}c{K}";
}
