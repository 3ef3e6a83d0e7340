using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of both attention kernels.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct AttentionArguments
{
    /// <summary>f16.</summary>
    public ulong Queries;

    /// <summary>Decoding: f16 keys of the rows' own positions, which the kernel also writes to the cache; or 0 where they are there already.</summary>
    public ulong NewKeys;

    /// <summary>As NewKeys.</summary>
    public ulong NewValues;

    /// <summary>Decoding: u32 [rows].</summary>
    public ulong Positions;

    /// <summary>Decoding: u32 [rows], each row's line of the page table.</summary>
    public ulong Sequences;

    /// <summary>Prefill: u32 [tiles][4]: first row, rows (0 for none), line of the page table, position of the first row.</summary>
    public ulong Tiles;

    /// <summary>f16, or s8 with steps, [pages][KeyValueHeads][64][HeadSize].</summary>
    public ulong KeyPages;

    /// <summary>The same.</summary>
    public ulong ValuePages;

    /// <summary>Decoding, an int8 cache: f32 [pages][KeyValueHeads][64], what a position's values are multiples of.</summary>
    public ulong KeySteps;

    /// <summary>The same.</summary>
    public ulong ValueSteps;

    /// <summary>u32 [sequences][MaxPages].</summary>
    public ulong PageTable;

    /// <summary>f32 [Heads]: what a score falls by per position; or 0.</summary>
    public ulong Slopes;

    /// <summary>f16 [rows, Heads * HeadSize] with a row every OutputStride elements.</summary>
    public ulong Output;

    /// <summary>Decoding: f32 [rows][Heads][16][HeadSize + 2]: sums weighted by exponentials, the largest score and the sum of exponentials.</summary>
    public ulong Partials;

    /// <summary>Decoding: u32 [rows][Heads], zero between launches.</summary>
    public ulong Tickets;

    /// <summary>Elements between rows and between heads.</summary>
    public uint QueryRowStride, QueryHeadStride, KeyRowStride, KeyHeadStride, ValueRowStride, ValueHeadStride;

    /// <summary>Elements from one row of Output to the next.</summary>
    public uint OutputStride;

    /// <summary>Heads of queries, and of keys and values.</summary>
    public uint Heads, KeyValueHeads;

    /// <summary>Entries of a line of the page table.</summary>
    public uint MaxPages;

    /// <summary>The last positions that a query attends to; 0xFFFFFFFF for all.</summary>
    public uint Window;

    /// <summary>Decoding: blocks per row and group of heads.</summary>
    public uint Splits;

    /// <summary>Decoding: 1 if what kernels since the last copy or wait may still write is at most the queries and the rows' own keys and values.</summary>
    public uint Settled;

    /// <summary>Factor of the scores, times log2(e): exponentials are powers of two.</summary>
    public float Scale;
}
