using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>
/// What a microkernel in machine code takes: a pointer to this. The emitters read the offsets from this layout, the runtime fills it: one truth for
/// both. Addresses and sizes as <c>CpuGemm</c> has them.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CpuGemmArguments
{
    /// <summary>Bytes of the first instruction of code for both calling conventions, which moves System V's first argument to where Windows has it: Windows enters behind it.</summary>
    public const int SystemVEntryBytes = 3;

    /// <summary>The first of the tile registers that hold rows of activations; those before hold sums.</summary>
    public const int FirstActivationTile = 4;

    /// <summary>The first of those that hold weights.</summary>
    public const int FirstWeightTile = 6;

    /// <summary>Quantized rows.</summary>
    public ulong A;

    /// <summary>Bytes from one row to the next.</summary>
    public long AStride;

    /// <summary>The weight panel.</summary>
    public ulong Panel;

    /// <summary>K divided by the values of a group, rounded up to an even number.</summary>
    public long KGroups;

    /// <summary>What the sums start from.</summary>
    public ulong Start;

    /// <summary>Elements from one row of it to the next.</summary>
    public long StartStride;

    /// <summary>The int32 tile.</summary>
    public ulong C;

    /// <summary>Elements from one row of the tile to the next.</summary>
    public long CStride;

    /// <summary>The 64 bytes that <c>ldtilecfg</c> reads; of kernels with tile registers alone.</summary>
    public ulong TileConfiguration;

    /// <summary>Bytes of a row that a step takes; of kernels with tile registers alone.</summary>
    public long StepBytes;
}
