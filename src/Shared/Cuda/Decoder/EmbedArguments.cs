using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of the embedding kernel; addresses of 0 stand for "not there".</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EmbedArguments
{
    /// <summary>u32 [rows]; or 0, where the rows of Output are added to.</summary>
    public ulong Tokens;

    /// <summary>u32 [rows].</summary>
    public ulong Positions;

    /// <summary>[Vocabulary, Width] in TokenFormat.</summary>
    public ulong TokenTable;

    /// <summary>[PositionRows, Width] in PositionFormat; or 0.</summary>
    public ulong PositionTable;

    /// <summary>[rows, Width] with a row every OutputStride elements, in OutputFormat.</summary>
    public ulong Output;

    /// <summary>Values per row.</summary>
    public uint Width;

    /// <summary>Elements from one row of TokenTable to the next.</summary>
    public uint TokenStride;

    /// <summary>Elements from one row of PositionTable to the next.</summary>
    public uint PositionStride;

    /// <summary>Elements from one row of Output to the next.</summary>
    public uint OutputStride;

    /// <summary>Rows of TokenTable; a token beyond gives zeros.</summary>
    public uint Vocabulary;

    /// <summary>Row of PositionTable that position 0 has.</summary>
    public uint PositionOffset;

    /// <summary>Rows of PositionTable; a position beyond adds nothing.</summary>
    public uint PositionRows;

    /// <summary>An <see cref="ElementFormat"/>.</summary>
    public uint TokenFormat;

    /// <summary>An <see cref="ElementFormat"/>.</summary>
    public uint PositionFormat;

    /// <summary>An <see cref="ElementFormat"/>: float16 or float32.</summary>
    public uint OutputFormat;

    /// <summary>Factor of the token's embedding.</summary>
    public float Scale;
}
