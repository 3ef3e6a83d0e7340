using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of the kernels that choose tokens.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SampleArguments
{
    /// <summary>f32 [rows, Vocabulary] with a row every LogitStride elements.</summary>
    public ulong Logits;

    /// <summary>u32 [rows], written.</summary>
    public ulong Tokens;

    /// <summary>u32 [rows]: the position of the token that gave the logits; or 0.</summary>
    public ulong Positions;

    /// <summary>A <see cref="SamplingRow"/> per row; sampling only.</summary>
    public ulong Rows;

    /// <summary>Logits per row.</summary>
    public uint Vocabulary;

    /// <summary>Elements from one row of Logits to the next.</summary>
    public uint LogitStride;

    /// <summary>1 where the position of every active row grows by one.</summary>
    public uint Advance;
}

/// <summary>How a row's token is drawn, in device memory.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SamplingRow
{
    /// <summary>Divides the logits; 0 takes the largest.</summary>
    public float Temperature;

    /// <summary>The most probable tokens whose probabilities reach this sum are drawn from; 1 for all.</summary>
    public float TopP;

    /// <summary>The most probable tokens that are drawn from; 0 for all.</summary>
    public uint TopK;

    /// <summary>The random numbers' key: the same seed draws the same tokens, whatever the rows beside it.</summary>
    public uint SeedLow, SeedHigh;
}
