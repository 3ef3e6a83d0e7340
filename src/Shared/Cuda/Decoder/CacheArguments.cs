using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of the kernels between a float16 cache of one layer and its int8 counterpart.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CacheArguments
{
    /// <summary>Packing: u32 [rows].</summary>
    public ulong Positions;

    /// <summary>Packing: u32 [rows], each row's line of the page table.</summary>
    public ulong Sequences;

    /// <summary>u32 [sequences][MaxPages].</summary>
    public ulong PageTable;

    /// <summary>f16 [pages][KeyValueHeads][64][HeadSize].</summary>
    public ulong KeyPages, ValuePages;

    /// <summary>s8, the same.</summary>
    public ulong Int8Keys, Int8Values;

    /// <summary>f32 [pages][KeyValueHeads][64].</summary>
    public ulong KeySteps, ValueSteps;

    /// <summary>Heads of keys and values, and their width.</summary>
    public uint KeyValueHeads, HeadSize;

    /// <summary>Entries of a line of the page table.</summary>
    public uint MaxPages;

    /// <summary>Packing: rows.</summary>
    public uint Rows;

    /// <summary>Widening: the line of the page table.</summary>
    public uint Sequence;
}
