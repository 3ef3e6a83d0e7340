namespace KernelGen.Generator.Planning.Cuda;

/// <summary>A decoder kernel to emit.</summary>
/// <param name="Name">The computed name.</param>
/// <param name="Capability">80, or 90 for one that starts while the kernel ahead of it runs.</param>
/// <param name="Format">Type of the results.</param>
/// <param name="Threads">Threads per block, or 0 where the launch decides.</param>
/// <param name="SharedBytes">Dynamic shared memory, or 0 where the launch decides.</param>
/// <param name="Body">The plan of the kernel.</param>
internal sealed record DecoderKernelPlan(string Name, int Capability, ElementFormat Format, int Threads, int SharedBytes, DecoderBody Body);

/// <summary>What a decoder kernel is specialized for.</summary>
/// <param name="Capability">80 or 90.</param>
internal abstract record DecoderBody(int Capability)
{
    public bool IsHopper => Capability >= 90;
}

/// <summary>The embedding of tokens and positions.</summary>
internal sealed record EmbedPlan(int Capability) : DecoderBody(Capability);

/// <summary>A norm or a gate and what becomes of its rows.</summary>
internal sealed record RowPlan(bool Gate, RowSink Sink, bool ZeroPoint, int Capability) : DecoderBody(Capability);

/// <summary>Rotary positions and the store to the cache.</summary>
internal sealed record StorePlan(int Capability) : DecoderBody(Capability);

/// <summary>Attention of one query per sequence.</summary>
/// <param name="HeadSize">Width of a head.</param>
/// <param name="Queries">Heads of queries that a block holds at a time.</param>
/// <param name="Capability">80 or 90.</param>
internal sealed record DecodeAttentionPlan(int HeadSize, int Queries, int Capability) : DecoderBody(Capability)
{
    public const int Threads = 128;

    /// <summary>Threads that share a position: a power of two, eight values each, the last ones idle where the head is no such multiple.</summary>
    public int Lanes => HeadSize <= 16 ? 2 : HeadSize <= 32 ? 4 : HeadSize <= 64 ? 8 : 16;

    /// <summary>Positions that the block takes at a time.</summary>
    public int Groups => Threads / Lanes;

    /// <summary>Passes over a page.</summary>
    public int Passes => DecoderRow.PageSize / Groups;
}

/// <summary>Attention of many queries on tensor cores.</summary>
internal sealed record PrefillAttentionPlan(int HeadSize, int Capability) : DecoderBody(Capability)
{
    public const int Warps = DecoderRow.TileQueries / 16, Threads = Warps * 32, Stages = 2;

    /// <summary>Bytes of a row in shared memory: an odd multiple of 16, so that eight rows' pieces lie in different banks.</summary>
    public int Pitch => (HeadSize * 2) + 16;

    public int TileBytes => DecoderRow.PageSize * Pitch;

    public int SharedBytes => Stages * 2 * TileBytes;
}

/// <summary>A 16-bit multiplication of few rows.</summary>
internal sealed record FewRowsGemmPlan(int Rows, ElementFormat Output, int Capability) : DecoderBody(Capability)
{
    public const int Features = 32, Threads = 256, Warps = 8;
}

/// <summary>A 16-bit multiplication of many rows.</summary>
internal sealed record ManyRowsGemmPlan(ElementFormat Output, int Capability) : DecoderBody(Capability)
{
    public const int Tile = 128, BlockK = 32, Stages = 4, Threads = 256, Pitch = (BlockK * 2) + 16;

    public static int StageBytes => 2 * Tile * Pitch;

    public static int SharedBytes => Stages * StageBytes;
}

/// <summary>The choice of the most probable token.</summary>
internal sealed record ArgMaxPlan(int Capability) : DecoderBody(Capability);

/// <summary>The draw of a token.</summary>
internal sealed record SamplePlan(int Capability) : DecoderBody(Capability);

/// <summary>The decoder kernels of a spec.</summary>
internal static class DecoderPlanner
{
    private static readonly int[] Capabilities = { 80, 90 };

    private static readonly int[] DecodeQueries = { 1, 4 };

    private static readonly int[] FewRows = { 8, 16, 32 };

    private static readonly ElementFormat[] GemmOutputs = { ElementFormat.Float16, ElementFormat.Float32 };

    public static IReadOnlyList<DecoderKernelPlan> Plan(IEnumerable<int> headSizes)
    {
        List<DecoderKernelPlan> plans = new();
        int[] sizes = headSizes.ToArray();
        foreach (int capability in Capabilities)
        {
            Add(DecoderKernelNames.Embed(capability), ElementFormat.Float32, 0, 0, new EmbedPlan(capability));
            foreach (bool gate in new[] { false, true })
            {
                foreach ((RowSink sink, bool zeroPoint) in Sinks())
                {
                    Add(DecoderKernelNames.Row(gate, sink, zeroPoint, capability), ElementFormat.Float16, 0, 0, new RowPlan(gate, sink, zeroPoint, capability));
                }
            }

            Add(DecoderKernelNames.Store(capability), ElementFormat.Float16, 0, 0, new StorePlan(capability));
            foreach (int size in sizes)
            {
                foreach (int queries in DecodeQueries)
                {
                    DecodeAttentionPlan decode = new(size, queries, capability);
                    Add(DecoderKernelNames.AttentionDecode(size, queries, capability), ElementFormat.Float16, DecodeAttentionPlan.Threads, 0, decode);
                }

                PrefillAttentionPlan prefill = new(size, capability);
                Add(DecoderKernelNames.AttentionPrefill(size, capability), ElementFormat.Float16, PrefillAttentionPlan.Threads, prefill.SharedBytes, prefill);
            }

            foreach (ElementFormat output in GemmOutputs)
            {
                foreach (int rows in FewRows)
                {
                    FewRowsGemmPlan few = new(rows, output, capability);
                    Add(DecoderKernelNames.FloatGemmFew(rows, output, capability), output, FewRowsGemmPlan.Threads, 0, few);
                }

                ManyRowsGemmPlan many = new(output, capability);
                Add(DecoderKernelNames.FloatGemmMany(output, capability), output, ManyRowsGemmPlan.Threads, ManyRowsGemmPlan.SharedBytes, many);
            }

            Add(DecoderKernelNames.ArgMax(capability), ElementFormat.Float32, 0, 0, new ArgMaxPlan(capability));
            Add(DecoderKernelNames.Sample(capability), ElementFormat.Float32, 0, 0, new SamplePlan(capability));
        }

        return plans;

        void Add(string name, ElementFormat format, int threads, int sharedBytes, DecoderBody body) =>
            plans.Add(new DecoderKernelPlan(name, body.Capability, format, threads, sharedBytes, body));
    }

    private static IEnumerable<(RowSink Sink, bool ZeroPoint)> Sinks()
    {
        yield return (RowSink.Round, false);
        yield return (RowSink.Mark, false);
        foreach (RowSink sink in new[] { RowSink.Quantize, RowSink.QuantizeElements, RowSink.QuantizeColumns })
        {
            yield return (sink, false);
            yield return (sink, true);
        }
    }
}
