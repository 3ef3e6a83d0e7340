using System.Globalization;
using System.Numerics;
using KernelGen.Kernels;

namespace KernelGen.MatMul;

/// <summary>
/// How a multiplication on the processor is cut into tiles, blocks and threads, none of which shows in its results. What is fastest depends on
/// caches and cores, so tuning chooses it.
/// </summary>
/// <param name="TileRows">Rows of the tallest tile that is used, one of the family's.</param>
/// <param name="BlockRows">Rows of a block, of kernels whose sums are corrected a multiple of <see cref="TransposedActivations.GroupRows"/>.</param>
/// <param name="BlockColumns">Output features of a block: a few panels, so that an epilogue call has work and a block's results stay near.</param>
/// <param name="ProductsPerThread">Multiplications worth waking a thread for.</param>
internal sealed record CpuSchedule(int TileRows, int BlockRows, int BlockColumns, int ProductsPerThread)
{
    /// <summary>Rows whose results are so few that a block of them may be wide, and whose products wait for weights from memory: a thread is worth waking for fewer.</summary>
    private const int FewRows = 4;

    /// <summary>Whole tiles of nearly every height.</summary>
    private const int UsualBlockRows = 48;

    /// <summary>Without a tuning record: the results of a block stay in the L1 cache, and a thread has some microseconds of work.</summary>
    /// <param name="family">The kernels.</param>
    /// <param name="rows">Rows of the activations.</param>
    public static CpuSchedule Default(CpuKernelFamily family, int rows)
    {
        int tileRows = family.Variants[^1].Tile.M;
        int blockRows = family.PairLimit > 0 ? TransposedActivations.GroupRows : Math.Max(2 * tileRows, UsualBlockRows);
        return new(tileRows, blockRows, rows <= FewRows ? 256 : 64, rows <= FewRows ? 1 << 18 : 1 << 20);
    }

    /// <summary>For example <c>int8_gemm_u8s8_s32_6x16c4_avxvnni_b48x64_t20</c>: the tallest tile's kernel, the block, the thread's share as a power of two.</summary>
    public string Name(CpuKernelFamily family) => string.Create(
        CultureInfo.InvariantCulture,
        $"{family.Variants.First(variant => variant.Tile.M == TileRows).Name}_b{BlockRows}x{BlockColumns}_t{BitOperations.Log2((uint)ProductsPerThread)}");
}
