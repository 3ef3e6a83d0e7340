using System.Runtime.InteropServices;

namespace KernelGen.Backends.Cuda;

/// <content>Rotary positions, the key-value cache, and attention.</content>
internal sealed unsafe partial class CudaDecoderKernels
{
    /// <summary>
    /// Queues: queries and keys are turned by the angles of their positions, the queries in place; keys and values are written to the cache.
    /// A step of single tokens without rotary positions can leave this out and give keys and values to <see cref="AttentionDecode"/>.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="shape">Heads.</param>
    /// <param name="queries">[rows] of Heads.</param>
    /// <param name="keys">[rows] of KeyValueHeads.</param>
    /// <param name="values">[rows] of KeyValueHeads.</param>
    /// <param name="positions">u32 [rows].</param>
    /// <param name="sequences">u32 [rows]: each row's line of the page table.</param>
    /// <param name="rotary">The angles, or a table of 0.</param>
    /// <param name="pages">The layer's cache.</param>
    public void RotaryAndStore(
        CudaStream stream, int rows, CudaAttentionShape shape, CudaHeads queries, CudaHeads keys, CudaHeads values, ulong positions, ulong sequences, CudaRotary rotary, CudaKeyValuePages pages)
    {
        Require(rotary.Table == 0 || (rotary.Pairs > 0 && 2 * rotary.Pairs <= shape.HeadSize), $"{rotary.Pairs} pairs are not part of a head of {shape.HeadSize}.");
        StoreArguments arguments = new()
        {
            Queries = queries.Address,
            Keys = keys.Address,
            Values = values.Address,
            Positions = positions,
            Sequences = sequences,
            RotaryTable = rotary.Table,
            KeyPages = pages.Keys,
            ValuePages = pages.Values,
            PageTable = pages.PageTable,
            QueryRowStride = (uint)queries.RowStride,
            QueryHeadStride = (uint)queries.HeadStride,
            KeyRowStride = (uint)keys.RowStride,
            KeyHeadStride = (uint)keys.HeadStride,
            ValueRowStride = (uint)values.RowStride,
            ValueHeadStride = (uint)values.HeadStride,
            Heads = (uint)shape.Heads,
            KeyValueHeads = (uint)shape.KeyValueHeads,
            HeadSize = (uint)shape.HeadSize,
            Pairs = (uint)rotary.Pairs,
            MaxPages = (uint)pages.MaxPages,
        };
        long pieces = (shape.Heads + (2L * shape.KeyValueHeads)) * shape.HeadSize / 8;
        Launch(stream, DecoderKernelNames.Store(Capability), arguments, rows * ((pieces + StoreThreads - 1) / StoreThreads), StoreThreads);
    }

    /// <summary>
    /// Queues the attention of one query per row over its sequence's cache up to its own position. The context is split between thread blocks by the row's own
    /// length alone, and the parts are combined in their order.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="shape">Heads, scale, window, slopes.</param>
    /// <param name="queries">[rows] of Heads.</param>
    /// <param name="newKeys">[rows] of KeyValueHeads: the keys of the rows' own positions, which are written to the cache too; an address of 0 where <see cref="RotaryAndStore"/> did that.</param>
    /// <param name="newValues">As <paramref name="newKeys"/>.</param>
    /// <param name="positions">u32 [rows].</param>
    /// <param name="sequences">u32 [rows]: each row's line of the page table, no two rows the same.</param>
    /// <param name="pages">The layer's cache.</param>
    /// <param name="longestContext">Positions, the rows' own among them, that no row has more of while the launch (or its graph) is used.</param>
    /// <param name="output">f16 [rows, Heads * HeadSize].</param>
    /// <param name="workspace">Reserved for rows and heads.</param>
    /// <param name="int8">The int8 cache to read instead of the float16 pages; the rows' own keys and values are in it (<see cref="PackCache"/>), none are given.</param>
    /// <param name="settled">
    /// Whether positions, sequences, page table and the cache, but for the rows' own positions, were complete before the kernels in the stream since the last copy or wait:
    /// the kernel then reads them while the one ahead of it still runs.
    /// </param>
    public void AttentionDecode(
        CudaStream stream, int rows, CudaAttentionShape shape, CudaHeads queries, CudaHeads newKeys, CudaHeads newValues, ulong positions, ulong sequences, CudaKeyValuePages pages, int longestContext, CudaMatrix output, CudaAttentionWorkspace workspace, CudaInt8Pages? int8 = null, bool settled = false)
    {
        Require(int8 is null || newKeys.Address == 0, "New keys and values go to an int8 cache before its attention.");
        Require((newKeys.Address == 0) == (newValues.Address == 0), "New keys and new values are given together or not at all.");
        Require(longestContext > 0 && longestContext <= (long)pages.MaxPages * DecoderRow.PageSize, $"A context of {longestContext} is not between 1 and the {pages.MaxPages} pages of {DecoderRow.PageSize} positions that the page table has.");
        AttentionArguments arguments = Arguments(shape, queries, pages, output);
        int group = shape.Heads / shape.KeyValueHeads, queriesPerBlock = group == 1 ? 1 : DecodeGroup;
        if (int8 is { } cache)
        {
            (arguments.KeyPages, arguments.ValuePages, arguments.KeySteps, arguments.ValueSteps) = (cache.Keys, cache.Values, cache.KeySteps, cache.ValueSteps);
        }

        arguments.NewKeys = newKeys.Address;
        arguments.NewValues = newValues.Address;
        arguments.Positions = positions;
        arguments.Sequences = sequences;
        arguments.Settled = settled ? 1u : 0u;
        arguments.Partials = workspace.Partials;
        arguments.Tickets = workspace.Tickets;
        arguments.KeyRowStride = (uint)newKeys.RowStride;
        arguments.KeyHeadStride = (uint)newKeys.HeadStride;
        arguments.ValueRowStride = (uint)newValues.RowStride;
        arguments.ValueHeadStride = (uint)newValues.HeadStride;
        arguments.Splits = (uint)Math.Min(DecoderRow.MaxSplits, (longestContext + DecoderRow.PageSize - 1) / DecoderRow.PageSize);
        long blocks = (long)arguments.Splits * rows * shape.KeyValueHeads * ((group + queriesPerBlock - 1) / queriesPerBlock);
        Launch(stream, DecoderKernelNames.AttentionDecode(shape.HeadSize, queriesPerBlock, int8 is not null, Capability), arguments, blocks, AttentionThreads);
    }

    /// <summary>
    /// Queues the attention of tiles of queries over their sequences' caches, which hold the tiles' own keys and values already
    /// (<see cref="RotaryAndStore"/>), each query up to its own position. Tensor cores, online softmax (arXiv 2205.14135): no score reaches memory.
    /// A query's bits depend on its own position and sequence, not on how a prompt is cut into tiles or chunks.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="tiles">On the device: <see cref="CudaAttentionTile"/> [tileCount].</param>
    /// <param name="tileCount">Tiles, those with no rows among them; at least 1. Long contexts first balance best.</param>
    /// <param name="shape">Heads, scale, window, slopes.</param>
    /// <param name="queries">[rows] of Heads.</param>
    /// <param name="pages">The layer's cache.</param>
    /// <param name="output">f16 [rows, Heads * HeadSize]; rows of no tile are left alone.</param>
    public void AttentionPrefill(
        CudaStream stream, ulong tiles, int tileCount, CudaAttentionShape shape, CudaHeads queries, CudaKeyValuePages pages, CudaMatrix output)
    {
        AttentionArguments arguments = Arguments(shape, queries, pages, output);
        arguments.Tiles = tiles;
        if (Capability >= Hopper && UsesWgmma && kernels.TryGetValue(DecoderKernelNames.AttentionPrefillWgmma(shape.HeadSize), out Lazy<CudaKernel>? wgmma))
        {
            AttendByWgmma(stream, wgmma.Value, arguments, tileCount, shape, pages);
            return;
        }

        string name = DecoderKernelNames.AttentionPrefill(shape.HeadSize, Capability);
        CudaKernelVariant variant = Kernel(name).Variant;
        Launch(stream, name, arguments, (long)tileCount * shape.Heads, variant.Threads, variant.SharedBytes);
    }

    /// <summary>Keys and values come by TMA: a page of a head is as many neighbouring rows of the cache.</summary>
    private void AttendByWgmma(CudaStream stream, CudaKernel kernel, AttentionArguments arguments, int tileCount, CudaAttentionShape shape, CudaKeyValuePages pages)
    {
        TensorMap* maps = (TensorMap*)NativeMemory.AlignedAlloc((nuint)(2 * sizeof(TensorMap)), 128);
        try
        {
            context.Use();
            long rows = (long)pages.Count * shape.KeyValueHeads * DecoderRow.PageSize, rowBytes = shape.HeadSize * sizeof(ushort);
            TensorMap.Encode(&maps[0], pages.Keys, rows, rowBytes, rowBytes, DecoderRow.PageSize, null);
            TensorMap.Encode(&maps[1], pages.Values, rows, rowBytes, rowBytes, DecoderRow.PageSize, null);
            void** parameters = stackalloc void*[] { &maps[0], &maps[1], &arguments };
            kernel.Launch(stream, checked((uint)((long)tileCount * shape.Heads)), (uint)kernel.Variant.Threads, kernel.Variant.SharedBytes, parameters, early: true);
        }
        finally
        {
            NativeMemory.AlignedFree(maps);
        }
    }

    /// <summary>
    /// Queues the quantization of rows' keys and values from float16 pages to an int8 cache: per position and head, <c>step = absmax / 127</c>. The float16
    /// values become those that the int8 ones stand for.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="shape">Heads.</param>
    /// <param name="positions">u32 [rows].</param>
    /// <param name="sequences">u32 [rows].</param>
    /// <param name="pages">Has the rows' keys and values (<see cref="RotaryAndStore"/>).</param>
    /// <param name="int8">Receives them.</param>
    public void PackCache(CudaStream stream, int rows, CudaAttentionShape shape, ulong positions, ulong sequences, CudaKeyValuePages pages, CudaInt8Pages int8)
    {
        CacheArguments arguments = CacheArgumentsOf(shape, pages, int8);
        (arguments.Positions, arguments.Sequences, arguments.Rows) = (positions, sequences, (uint)rows);
        const int WarpsPerBlock = CacheThreads / 32;
        Launch(stream, DecoderKernelNames.Cache(widens: false, Capability), arguments, ((2L * rows * shape.KeyValueHeads) + WarpsPerBlock - 1) / WarpsPerBlock, CacheThreads);
    }

    /// <summary>Queues the copy of a sequence's first pages from an int8 cache to float16 pages, for a prompt that goes on.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="sequence">Its line of the page table.</param>
    /// <param name="positions">Positions, at least 1; the rest of their last page is copied as well.</param>
    /// <param name="shape">Heads.</param>
    /// <param name="pages">Receives them.</param>
    /// <param name="int8">Has them.</param>
    public void WidenCache(CudaStream stream, int sequence, int positions, CudaAttentionShape shape, CudaKeyValuePages pages, CudaInt8Pages int8)
    {
        CacheArguments arguments = CacheArgumentsOf(shape, pages, int8);
        arguments.Sequence = (uint)sequence;
        long count = (positions + DecoderRow.PageSize - 1) / DecoderRow.PageSize;
        Launch(stream, DecoderKernelNames.Cache(widens: true, Capability), arguments, count * 2 * shape.KeyValueHeads, CacheThreads);
    }

    private static CacheArguments CacheArgumentsOf(CudaAttentionShape shape, CudaKeyValuePages pages, CudaInt8Pages int8) => new()
    {
        PageTable = pages.PageTable,
        KeyPages = pages.Keys,
        ValuePages = pages.Values,
        Int8Keys = int8.Keys,
        Int8Values = int8.Values,
        KeySteps = int8.KeySteps,
        ValueSteps = int8.ValueSteps,
        KeyValueHeads = (uint)shape.KeyValueHeads,
        HeadSize = (uint)shape.HeadSize,
        MaxPages = (uint)pages.MaxPages,
    };

    private const int CacheThreads = 128;

    private const float Log2E = 1.4426950408889634f;

    private const int StoreThreads = 256, AttentionThreads = 128, DecodeGroup = 4;

    private AttentionArguments Arguments(CudaAttentionShape shape, CudaHeads queries, CudaKeyValuePages pages, CudaMatrix output)
    {
        Require(HeadSizes.Contains(shape.HeadSize), $"No attention kernel was generated for heads of {shape.HeadSize}, only of {string.Join(", ", HeadSizes)}: add it to the HeadSizes of the [DecoderKernels] class.");
        Require(shape.KeyValueHeads > 0 && shape.Heads % shape.KeyValueHeads == 0, $"{shape.Heads} heads of queries cannot share {shape.KeyValueHeads} heads of keys and values evenly.");
        Require(output.Format == ElementFormat.Float16, $"Attention gives f16, not {output.Format}.");
        return new AttentionArguments
        {
            Queries = queries.Address,
            KeyPages = pages.Keys,
            ValuePages = pages.Values,
            PageTable = pages.PageTable,
            Slopes = shape.Slopes,
            Output = output.Address,
            QueryRowStride = (uint)queries.RowStride,
            QueryHeadStride = (uint)queries.HeadStride,
            OutputStride = (uint)output.RowStride,
            Heads = (uint)shape.Heads,
            KeyValueHeads = (uint)shape.KeyValueHeads,
            MaxPages = (uint)pages.MaxPages,
            Window = shape.Window > 0 ? (uint)shape.Window : uint.MaxValue,
            Scale = shape.Scale * Log2E,
        };
    }
}
