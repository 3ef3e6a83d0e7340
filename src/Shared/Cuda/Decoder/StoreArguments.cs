using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of the kernel that turns queries and keys and writes keys and values to the cache.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoreArguments
{
    /// <summary>f16, turned in place where there is a rotary table.</summary>
    public ulong Queries;

    /// <summary>f16.</summary>
    public ulong Keys;

    /// <summary>f16.</summary>
    public ulong Values;

    /// <summary>u32 [rows].</summary>
    public ulong Positions;

    /// <summary>u32 [rows]: each row's line of the page table.</summary>
    public ulong Sequences;

    /// <summary>f32 [positions][Pairs][2]: cosine and sine; or 0.</summary>
    public ulong RotaryTable;

    /// <summary>f16 [pages][KeyValueHeads][64][HeadSize].</summary>
    public ulong KeyPages;

    /// <summary>The same.</summary>
    public ulong ValuePages;

    /// <summary>u32 [sequences][MaxPages].</summary>
    public ulong PageTable;

    /// <summary>Elements between rows and between heads.</summary>
    public uint QueryRowStride, QueryHeadStride, KeyRowStride, KeyHeadStride, ValueRowStride, ValueHeadStride;

    /// <summary>Heads of queries, of keys and values, and their width, a multiple of 8.</summary>
    public uint Heads, KeyValueHeads, HeadSize;

    /// <summary>Pairs of dimensions that are turned.</summary>
    public uint Pairs;

    /// <summary>Entries of a line of the page table.</summary>
    public uint MaxPages;
}
