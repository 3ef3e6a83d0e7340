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

    /// <summary>Whether the kernel runs on exactly its capability, not on later ones.</summary>
    public virtual bool IsArchitectureSpecific => false;
}

/// <summary>The embedding of tokens and positions.</summary>
internal sealed record EmbedPlan(int Capability) : DecoderBody(Capability);

/// <summary>A norm or a gate and what becomes of its rows.</summary>
internal sealed record RowPlan(bool Gate, RowSink Sink, bool ZeroPoint, int Capability) : DecoderBody(Capability);

/// <summary>Rotary positions and the store to the cache.</summary>
internal sealed record StorePlan(int Capability) : DecoderBody(Capability);

/// <summary>Quantization of new keys and values, or widening of a sequence's old ones.</summary>
internal sealed record CachePlan(bool Widens, int Capability) : DecoderBody(Capability)
{
    public const int PackThreads = 128, WidenThreads = 128;
}

/// <summary>Attention of one query per sequence.</summary>
/// <param name="HeadSize">Width of a head.</param>
/// <param name="Queries">Heads of queries that a block holds at a time.</param>
/// <param name="Int8Cache">Whether keys and values are int8 with a step per position and head.</param>
/// <param name="Capability">80 or 90.</param>
internal sealed record DecodeAttentionPlan(int HeadSize, int Queries, bool Int8Cache, int Capability) : DecoderBody(Capability)
{
    public const int Threads = 128;

    public int ValueBytes => Int8Cache ? 1 : 2;

    /// <summary>Threads that share a position: a power of two, eight values each, the last ones idle where the head is no such multiple.</summary>
    public int Lanes => HeadSize <= 16 ? 2 : HeadSize <= 32 ? 4 : HeadSize <= 64 ? 8 : 16;

    /// <summary>Positions that the block takes at a time.</summary>
    public int Groups => Threads / Lanes;

    /// <summary>Passes over a page.</summary>
    public int Passes => DecoderRow.PageSize / Groups;
}

/// <summary>Attention of many queries by mma.sync.</summary>
internal sealed record MmaPrefillPlan(int HeadSize, int Capability) : DecoderBody(Capability)
{
    public const int Threads = DecoderRow.TileQueries / 16 * 32, Stages = 2;

    /// <summary>Bytes of a row in shared memory: an odd multiple of 16, so that eight rows' pieces lie in different banks.</summary>
    public int Pitch => (HeadSize * 2) + 16;

    public int TileBytes => DecoderRow.PageSize * Pitch;

    public int SharedBytes => Stages * 2 * TileBytes;
}

/// <summary>Attention of many queries by wgmma.</summary>
internal sealed record WgmmaPrefillPlan(int HeadSize) : DecoderBody(90)
{
    /// <summary>Warpgroups that multiply, 64 queries each.</summary>
    public const int Consumers = DecoderRow.TileQueries / 64;

    public const int Threads = (Consumers + 1) * 128;

    /// <summary>Pages in shared memory at a time.</summary>
    public const int Stages = 4;

    /// <summary>A box of TMA with the 128-byte swizzle: 64 positions of 64 values.</summary>
    public const int BoxBytes = DecoderRow.PageSize * 128;

    /// <summary>Barriers of a stage: keys and values are there, the stage is free.</summary>
    public const int BarrierBytes = 24;

    public override bool IsArchitectureSpecific => true;

    /// <summary>Boxes of 64 values that a position's keys take; TMA fills the last one up with zeros, which nothing multiplies.</summary>
    public int Boxes => (HeadSize + 63) / 64;

    /// <summary>A page of keys, or of values.</summary>
    public int TileBytes => Boxes * BoxBytes;

    public int StageBytes => 2 * TileBytes;

    public int BarrierOffset => Stages * StageBytes;

    /// <summary>Where, from <see cref="BarrierOffset"/>, the barrier is of the values of a page that ends early.</summary>
    public static int TailOffset => Stages * BarrierBytes;

    public int SharedBytes => BarrierOffset + TailOffset + 8 + 1024;
}

/// <summary>A multiplication of few rows in 16 bits, by weights in 16 bits or in int8.</summary>
internal sealed record FewRowsGemmPlan(int Rows, ElementFormat Output, bool Int8Weights, int Capability) : DecoderBody(Capability)
{
    public const int Features = 32, Threads = 256, Warps = 8;
}

/// <summary>int8 weights to f16.</summary>
internal sealed record WidenPlan(int Capability) : DecoderBody(Capability);

/// <summary>A 16-bit multiplication of many rows.</summary>
internal sealed record ManyRowsGemmPlan(ElementFormat Output, int Capability) : DecoderBody(Capability)
{
    public const int Tile = 128, BlockK = 32, Stages = 4, Threads = 256, Pitch = (BlockK * 2) + 16;

    public static int StageBytes => 2 * Tile * Pitch;

    public static int SharedBytes => Stages * StageBytes;
}

/// <summary>A 16-bit multiplication of many rows by wgmma: the int8 kernel with other operands.</summary>
internal sealed record WgmmaFloatGemmPlan(WgmmaGemmPlan Gemm) : DecoderBody(90)
{
    public override bool IsArchitectureSpecific => true;
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

    private static readonly (int N, int Stages)[] WgmmaTiles = { (WgmmaFloatTile.ManyFeatures, 3), (WgmmaFloatTile.FewFeatures, 7) };

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
            foreach (bool widens in new[] { false, true })
            {
                Add(DecoderKernelNames.Cache(widens, capability), ElementFormat.Float16, widens ? CachePlan.WidenThreads : CachePlan.PackThreads, 0, new CachePlan(widens, capability));
            }

            foreach (int size in sizes)
            {
                foreach (int queries in DecodeQueries)
                {
                    foreach (bool int8 in new[] { false, true })
                    {
                        DecodeAttentionPlan decode = new(size, queries, int8, capability);
                        Add(DecoderKernelNames.AttentionDecode(size, queries, int8, capability), ElementFormat.Float16, DecodeAttentionPlan.Threads, 0, decode);
                    }
                }

                MmaPrefillPlan prefill = new(size, capability);
                Add(DecoderKernelNames.AttentionPrefill(size, capability), ElementFormat.Float16, MmaPrefillPlan.Threads, prefill.SharedBytes, prefill);
            }

            foreach (ElementFormat output in GemmOutputs)
            {
                foreach (int rows in FewRows)
                {
                    foreach (bool int8 in new[] { false, true })
                    {
                        FewRowsGemmPlan few = new(rows, output, int8, capability);
                        Add(DecoderKernelNames.FloatGemmFew(rows, output, int8, capability), output, FewRowsGemmPlan.Threads, 0, few);
                    }
                }

                ManyRowsGemmPlan many = new(output, capability);
                Add(DecoderKernelNames.FloatGemmMany(output, capability), output, ManyRowsGemmPlan.Threads, ManyRowsGemmPlan.SharedBytes, many);
            }

            Add(DecoderKernelNames.WidenWeights(capability), ElementFormat.Float16, WidenTile.Threads, 0, new WidenPlan(capability));
            Add(DecoderKernelNames.ArgMax(capability), ElementFormat.Float32, 0, 0, new ArgMaxPlan(capability));
            Add(DecoderKernelNames.Sample(capability), ElementFormat.Float32, 0, 0, new SamplePlan(capability));
        }

        foreach (int size in sizes)
        {
            WgmmaPrefillPlan prefill = new(size);
            Add(DecoderKernelNames.AttentionPrefillWgmma(size), ElementFormat.Float16, WgmmaPrefillPlan.Threads, prefill.SharedBytes, prefill);
        }

        foreach (ElementFormat output in GemmOutputs)
        {
            foreach ((int blockN, int stages) in WgmmaTiles)
            {
                WgmmaGemmPlan gemm = new(WgmmaFloatTile.Rows, blockN, stages, false, new GemmNumbers(OutlierPolicy.None, false, output), GemmOperands.Float16);
                Add(gemm.Name, output, WgmmaGemmPlan.Threads, gemm.SharedBytes, new WgmmaFloatGemmPlan(gemm));
            }
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
