using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of the kernel that makes 16-bit weights of int8 ones.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct WidenArguments
{
    /// <summary>s8, 16 bytes at a time.</summary>
    public ulong Values;

    /// <summary>f16, the same numbers.</summary>
    public ulong Output;

    /// <summary>Pieces of 16 values.</summary>
    public uint Pieces;
}
