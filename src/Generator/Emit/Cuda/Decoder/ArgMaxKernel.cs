using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>The most probable token, the first of equals; a thread block per row.</summary>
internal static class ArgMaxKernel
{
    /// <summary>Loads in flight per thread.</summary>
    private const int Unroll = 8;

    public static string Emit(DecoderKernelPlan plan)
    {
        PtxWriter ptx = DecoderFrame.Begin<SampleArguments>(plan, 1024);
        Declare(ptx);
        ptx.LaunchNext(plan);
        Prologue(ptx, plan);
        FindBest(ptx);
        ptx.Add("mov.u32 token, bestAt;");
        Finish(ptx);
        return ptx.End();
    }

    /// <summary>Registers and shared memory of the parts below.</summary>
    public static void Declare(PtxWriter ptx) => ptx.Add("""
        .shared .align 4 .f32 warpBest[32];
        .shared .align 4 .b32 warpBestAt[32];
        """)
        .Registers("b32", "thread", "threads", "lane", "warp", "warps", "row", "vocabulary", "stride", "advance", "position", "token", "bestAt", "remoteAt", "item", "scratch", "address32", "limit")
        .Registers("b64", "logits", "tokens", "positions", "pointer", "offset", "tokenAddress", "positionAddress")
        .Registers("f32", "best", "remote", "value", "magnitude")
        .Registers("f32", PtxRegisters.Names("value", Unroll))
        .Registers("pred", "again", "isBetter", "isEqual", "isLower", "isFirst", "present", "isBad", "hasPositions", "advances");

    /// <summary>Arguments, and this row's logits; rows without a token leave.</summary>
    public static void Prologue(PtxWriter ptx, DecoderKernelPlan plan) => ptx
        .Argument<SampleArguments>("logits", nameof(SampleArguments.Logits), "u64")
        .Argument<SampleArguments>("tokens", nameof(SampleArguments.Tokens), "u64")
        .Argument<SampleArguments>("positions", nameof(SampleArguments.Positions), "u64")
        .Argument<SampleArguments>("vocabulary", nameof(SampleArguments.Vocabulary), "u32")
        .Argument<SampleArguments>("stride", nameof(SampleArguments.LogitStride), "u32")
        .Argument<SampleArguments>("advance", nameof(SampleArguments.Advance), "u32")
        .Add("""
            mov.u32 thread, %tid.x;
            mov.u32 threads, %ntid.x;
            and.b32 lane, thread, 31;
            shr.u32 warp, thread, 5;
            shr.u32 warps, threads, 5;
            mov.u32 row, %ctaid.x;
            mul.wide.u32 offset, row, stride;
            shl.b64 offset, offset, 2;
            add.u64 logits, logits, offset;
            mul.wide.u32 offset, row, 4;
            add.u64 tokenAddress, tokens, offset;
            add.u64 positionAddress, positions, offset;
            setp.ne.u64 hasPositions, positions, 0;
            setp.ne.u32 advances, advance, 0;
            and.pred advances, advances, hasPositions;
            mov.u32 position, 0;
            """)
        .WaitForPrevious(plan)
        .Add($"""
            @hasPositions ld.global.u32 position, [positionAddress];
            setp.eq.u32 again, position, 0x{DecoderRow.Inactive:X8};
            @again bra DONE;
            """);

    /// <summary>
    /// best and bestAt, for every thread; bestAt is NoToken where a logit is NaN or the largest is not finite. A NaN travels as the best of all.
    /// </summary>
    public static void FindBest(PtxWriter ptx)
    {
        string loop = ptx.Label("LOGITS"), tail = ptx.Label("LAST_LOGITS"), done = ptx.Label("LOGITS_DONE");
        ptx.Add($"""
            mov.f32 best, 0fFF800000;
            mov.u32 bestAt, 0x{DecoderRow.NoToken:X8};
            mov.u32 item, thread;
            {loop}:
            mad.lo.u32 limit, threads, {Unroll - 1}, item;
            setp.ge.u32 again, limit, vocabulary;
            @again bra {tail};
            mul.wide.u32 offset, item, 4;
            add.u64 pointer, logits, offset;
            mul.wide.u32 offset, threads, 4;
            """);
        for (int i = 0; i < Unroll; i++)
        {
            ptx.Add($"ld.global.f32 value{i}, [pointer];").Add("add.u64 pointer, pointer, offset;");
        }

        for (int i = 0; i < Unroll; i++)
        {
            Take(ptx, $"value{i}");
            ptx.Add("add.u32 item, item, threads;");
        }

        ptx.Add($"""
            bra {loop};
            {tail}:
            setp.ge.u32 again, item, vocabulary;
            @again bra {done};
            mul.wide.u32 offset, item, 4;
            add.u64 pointer, logits, offset;
            ld.global.f32 value0, [pointer];
            """);
        Take(ptx, "value0");
        ptx.Add($"""
            add.u32 item, item, threads;
            bra {tail};
            {done}:
            """);
        WarpBest(ptx);
        ptx.Add("""
            setp.eq.u32 isFirst, lane, 0;
            shl.b32 scratch, warp, 2;
            mov.u32 address32, warpBest;
            add.u32 address32, address32, scratch;
            @isFirst st.shared.f32 [address32], best;
            mov.u32 address32, warpBestAt;
            add.u32 address32, address32, scratch;
            @isFirst st.shared.b32 [address32], bestAt;
            bar.sync 0;
            setp.lt.u32 present, lane, warps;
            mov.f32 best, 0fFF800000;
            mov.u32 bestAt, 0xFFFFFFFF;
            shl.b32 scratch, lane, 2;
            mov.u32 address32, warpBest;
            add.u32 address32, address32, scratch;
            @present ld.shared.f32 best, [address32];
            mov.u32 address32, warpBestAt;
            add.u32 address32, address32, scratch;
            @present ld.shared.b32 bestAt, [address32];
            """);
        WarpBest(ptx);

        // A comparison with NaN is false, so that a NaN counts as not below infinity.
        ptx.Add($"""
            abs.f32 magnitude, best;
            setp.lt.f32 present, magnitude, 0f7F800000;
            @!present mov.u32 bestAt, 0x{DecoderRow.NoToken:X8};
            """);
    }

    /// <summary>The chosen token, and the position after it.</summary>
    public static void Finish(PtxWriter ptx) => ptx.Add("""
        setp.ne.u32 again, thread, 0;
        @again bra DONE;
        st.global.u32 [tokenAddress], token;
        add.u32 position, position, 1;
        @advances st.global.u32 [positionAddress], position;
        """);

    /// <summary>Tokens come in ascending order: a later one must be larger. A NaN stays.</summary>
    private static void Take(PtxWriter ptx, string value) => ptx.Add($"""
        setp.leu.f32 isLower, {value}, best;
        setp.nan.f32 isBad, {value}, {value};
        not.pred isBetter, isLower;
        or.pred isBetter, isBetter, isBad;
        @isBetter mov.f32 best, {value};
        @isBetter mov.u32 bestAt, item;
        """);

    private static void WarpBest(PtxWriter ptx)
    {
        for (int distance = 16; distance > 0; distance /= 2)
        {
            ptx.Add($"""
                shfl.sync.bfly.b32 remote, best, {distance}, 31, 0xFFFFFFFF;
                shfl.sync.bfly.b32 remoteAt, bestAt, {distance}, 31, 0xFFFFFFFF;
                setp.eq.f32 isEqual, remote, best;
                setp.lt.and.u32 isBetter, remoteAt, bestAt, isEqual;
                setp.gt.or.f32 isBetter, remote, best, isBetter;
                setp.nan.or.f32 isBetter, remote, remote, isBetter;
                setp.nan.f32 isBad, best, best;
                not.pred isBad, isBad;
                and.pred isBetter, isBetter, isBad;
                @isBetter mov.f32 best, remote;
                @isBetter mov.u32 bestAt, remoteAt;
                """);
        }
    }
}
