using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// Draws a token: a thread block per row. Probabilities are integers of 30 fractional bits relative to the largest, so that sums are exact and do not
/// depend on their order. What top-k and top-p leave is a key (the bits of a logit, in its order) and how many tokens of just that key: found by
/// four passes over eight bits each, with histograms in shared memory. The token is the one in whose share of the running sum, in the order of the ids, a
/// random number falls (Philox 4x32-10: Salmon et al., SC 2011).
/// </summary>
internal static class SampleKernel
{
    private const int Bins = 256;

    public static string Emit(DecoderKernelPlan plan)
    {
        PtxWriter ptx = DecoderFrame.Begin<SampleArguments>(plan, 1024);
        ptx.Add($"""
            .shared .align 8 .b64 masses[{Bins}];
            .shared .align 8 .b64 warpMasses[32];
            .shared .align 8 .b64 foundMass;
            .shared .align 4 .b32 warpCounts[32];
            .shared .align 4 .b32 foundKey;
            .shared .align 4 .b32 foundToken;
            """);
        ArgMaxKernel.Declare(ptx);
        ptx.Registers("b32", "topK", "seedLow", "seedHigh", "key", "sign", "bin", "pass", "prefix", "prefixMask", "cutKey", "lowKey", "segment", "from", "to", "equals", "equalsBefore", "kept", "remoteCount", "count", "weight32", "total32", "word0", "word1", "word2", "word3", "high32", "low32", "binsLeft")
           .Registers("b64", "rows", "weight", "mass", "limitMass", "above", "total", "random", "cutCount", "lowCount", "cutWeight", "running", "remoteMass", "own", "address64", "measure")
           .Registers("f32", "temperature", "topP", "factor", "term")
           .Registers("f64", "share", "wide")
           .Registers("pred", "counts", "hasTopK", "hasTopP", "inside", "isAbove", "isCut", "isFound", "isGreedy", "isLane");
        ptx.LaunchNext(plan).Argument<SampleArguments>("rows", nameof(SampleArguments.Rows), "u64");
        ArgMaxKernel.Prologue(ptx, plan);
        ptx.Add("""
            mul.wide.u32 offset, row, 20;
            add.u64 rows, rows, offset;
            ld.global.f32 temperature, [rows];
            ld.global.f32 topP, [rows+4];
            ld.global.u32 topK, [rows+8];
            ld.global.u32 seedLow, [rows+12];
            ld.global.u32 seedHigh, [rows+16];
            """);
        ArgMaxKernel.FindBest(ptx);
        ptx.Add($"""
            mov.u32 token, bestAt;
            setp.eq.u32 isGreedy, bestAt, 0x{DecoderRow.NoToken:X8};
            setp.leu.or.f32 isGreedy, temperature, 0f00000000, isGreedy;
            @isGreedy bra CHOSEN;
            mov.f32 factor, {PtxWriter.F32(1.4426950408889634f)};
            div.rn.f32 factor, factor, temperature;
            mov.u32 cutKey, 0;
            mov.u64 cutCount, 0xFFFFFFFF;
            setp.ne.u32 hasTopK, topK, 0;
            setp.lt.and.u32 hasTopK, topK, vocabulary, hasTopK;
            setp.lt.f32 hasTopP, topP, {PtxWriter.F32(1)};
            @!hasTopK bra TOP_P;
            cvt.u64.u32 limitMass, topK;
            setp.eq.u32 counts, thread, thread;
            """);
        Select(ptx, "TOP_K");
        ptx.Add("""
            mov.u32 cutKey, prefix;
            mov.u64 cutCount, limitMass;
            TOP_P:
            @!hasTopP bra DRAW;
            """);
        KeptMass(ptx);

        // At least the largest: a share of 0 is one token.
        ptx.Add($"""
            cvt.f64.f32 share, topP;
            cvt.rn.f64.u64 wide, total;
            mul.rn.f64 share, share, wide;
            cvt.rpi.u64.f64 limitMass, share;
            max.u64 limitMass, limitMass, 1;
            min.u64 limitMass, limitMass, total;
            setp.ne.u32 counts, thread, thread;
            """);
        Select(ptx, "NUCLEUS");

        // limitMass is what tokens of the key itself must still give: whole tokens, rounded up.
        ptx.Add("""
            mov.u32 cutKey, prefix;
            mov.u32 key, prefix;
            """);
        LogitOfKey(ptx);
        Weight(ptx);
        ptx.Add("""
            mov.u64 cutWeight, weight;
            max.u64 cutWeight, cutWeight, 1;
            add.u64 cutCount, limitMass, cutWeight;
            sub.u64 cutCount, cutCount, 1;
            div.u64 cutCount, cutCount, cutWeight;
            DRAW:
            """);
        KeptMass(ptx);
        Random(ptx);
        Draw(ptx);
        ptx.Add("CHOSEN:");
        ArgMaxKernel.Finish(ptx);
        return ptx.End();
    }

    /// <summary>The key of <c>value</c>: larger logits have larger keys, and -0 that of 0.</summary>
    private static void Key(PtxWriter ptx) => ptx.Add("""
        add.rn.f32 value, value, 0f00000000;
        mov.b32 key, value;
        shr.s32 sign, key, 31;
        or.b32 sign, sign, 0x80000000;
        xor.b32 key, key, sign;
        """);

    private static void LogitOfKey(PtxWriter ptx) => ptx.Add("""
        not.b32 sign, key;
        shr.s32 sign, sign, 31;
        or.b32 sign, sign, 0x80000000;
        xor.b32 sign, key, sign;
        mov.b32 value, sign;
        """);

    /// <summary>weight: exp((value - best) / temperature) with 30 fractional bits.</summary>
    private static void Weight(PtxWriter ptx) => ptx.Add($"""
        sub.rn.f32 term, value, best;
        mul.rn.f32 term, term, factor;
        ex2.approx.f32 term, term;
        mul.rn.f32 term, term, {PtxWriter.F32(1 << 30)};
        cvt.rzi.u32.f32 weight32, term;
        cvt.u64.u32 weight, weight32;
        """);

    private static void Load(PtxWriter ptx) => ptx.Add("""
        mul.wide.u32 offset, item, 4;
        add.u64 pointer, logits, offset;
        ld.global.f32 value, [pointer];
        """);

    /// <summary>
    /// prefix: the key at which the running sum of counts or weights, from the largest key down, reaches limitMass; limitMass: what is missing
    /// before that key. Weights below the cut of top-k are in the histograms too, but the sum never comes there.
    /// </summary>
    private static void Select(PtxWriter ptx, string name)
    {
        string passes = ptx.Label(name), fill = ptx.Label(name + "_FILL"), filled = ptx.Label(name + "_FILLED"), next = ptx.Label(name + "_NEXT"), scan = ptx.Label(name + "_SCAN"), scanned = ptx.Label(name + "_SCANNED");
        ptx.Add($"""
            mov.u32 prefix, 0;
            mov.u32 prefixMask, 0;
            mov.u32 pass, 24;
            {passes}:
            bar.sync 0;
            setp.lt.u32 present, thread, {Bins};
            mov.u32 address32, masses;
            shl.b32 scratch, thread, 3;
            add.u32 address32, address32, scratch;
            mov.u64 mass, 0;
            @present st.shared.u64 [address32], mass;
            bar.sync 0;
            mov.u32 item, thread;
            {fill}:
            setp.ge.u32 again, item, vocabulary;
            @again bra {filled};
            """);
        Load(ptx);
        Key(ptx);
        ptx.Add($"""
            xor.b32 scratch, key, prefix;
            and.b32 scratch, scratch, prefixMask;
            setp.ne.u32 again, scratch, 0;
            @again bra {next};
            """);
        Weight(ptx);
        ptx.Add($"""
            @counts mov.u64 weight, 1;
            shr.u32 bin, key, pass;
            and.b32 bin, bin, {Bins - 1};
            shl.b32 bin, bin, 3;
            mov.u32 address32, masses;
            add.u32 address32, address32, bin;
            atom.shared.add.u64 mass, [address32], weight;
            {next}:
            add.u32 item, item, threads;
            bra {fill};
            {filled}:
            bar.sync 0;
            """);

        // The first warp: eight bins a lane, the largest keys in lane 0.
        ptx.Add($"""
            setp.ne.u32 again, warp, 0;
            @again bra {scanned};
            mov.u32 address32, masses;
            mul.lo.u32 scratch, lane, 64;
            add.u32 address32, address32, {(Bins - 1) * 8};
            sub.u32 address32, address32, scratch;
            mov.u64 own, 0;
            """);
        for (int i = 0; i < Bins / 32; i++)
        {
            ptx.Add($"""
                ld.shared.u64 mass, [address32{(i == 0 ? "" : $"+-{i * 8}")}];
                add.u64 own, own, mass;
                """);
        }

        ptx.Add("mov.u64 running, own;");
        ScanMass(ptx);
        ptx.Add($"""
            sub.u64 above, running, own;
            setp.lt.u64 isFound, above, limitMass;
            setp.ge.and.u64 isFound, running, limitMass, isFound;
            @!isFound bra {scanned};
            mov.u32 bin, 7;
            sub.u32 scratch, 31, lane;
            mad.lo.u32 bin, scratch, 8, bin;
            sub.u64 limitMass, limitMass, above;
            {scan}:
            ld.shared.u64 mass, [address32];
            setp.ge.u64 again, mass, limitMass;
            @again bra {scan}_DONE;
            sub.u64 limitMass, limitMass, mass;
            sub.u32 address32, address32, 8;
            sub.u32 bin, bin, 1;
            bra {scan};
            {scan}_DONE:
            st.shared.u32 [foundKey], bin;
            st.shared.u64 [foundMass], limitMass;
            {scanned}:
            bar.sync 0;
            ld.shared.u32 bin, [foundKey];
            ld.shared.u64 limitMass, [foundMass];
            shl.b32 bin, bin, pass;
            or.b32 prefix, prefix, bin;
            mov.u32 scratch, {Bins - 1};
            shl.b32 scratch, scratch, pass;
            or.b32 prefixMask, prefixMask, scratch;
            setp.eq.u32 again, pass, 0;
            sub.u32 pass, pass, 8;
            @!again bra {passes};
            """);
    }

    /// <summary>running becomes the sum over the lanes up to this one.</summary>
    private static void ScanMass(PtxWriter ptx)
    {
        for (int distance = 1; distance < 32; distance *= 2)
        {
            ptx.Add($$"""
                mov.b64 {low32, high32}, running;
                shfl.sync.up.b32 low32, low32, {{distance}}, 0, 0xFFFFFFFF;
                shfl.sync.up.b32 high32, high32, {{distance}}, 0, 0xFFFFFFFF;
                mov.b64 remoteMass, {low32, high32};
                setp.ge.u32 isLane, lane, {{distance}};
                @isLane add.u64 running, running, remoteMass;
                """);
        }
    }

    /// <summary>
    /// The weight of what cutKey and cutCount leave, by segments of neighbouring ids, one per thread: own, running (the sum before this
    /// segment) and total. kept: how many tokens of the cut key this segment may still take.
    /// </summary>
    private static void KeptMass(PtxWriter ptx)
    {
        string loop = ptx.Label("SEGMENT"), done = ptx.Label("SEGMENT_DONE"), next = ptx.Label("SEGMENT_NEXT");
        ptx.Add($"""
            add.u32 segment, vocabulary, threads;
            sub.u32 segment, segment, 1;
            div.u32 segment, segment, threads;
            mul.lo.u32 from, segment, thread;
            add.u32 to, from, segment;
            min.u32 to, to, vocabulary;
            mov.u64 own, 0;
            mov.u64 cutWeight, 0;
            mov.u32 equals, 0;
            mov.u32 item, from;
            {loop}:
            setp.ge.u32 again, item, to;
            @again bra {done};
            """);
        Load(ptx);
        Key(ptx);
        Weight(ptx);
        ptx.Add($"""
            setp.gt.u32 isAbove, key, cutKey;
            @isAbove add.u64 own, own, weight;
            setp.eq.u32 isCut, key, cutKey;
            @isCut add.u32 equals, equals, 1;
            @isCut mov.u64 cutWeight, weight;
            add.u32 item, item, 1;
            bra {loop};
            {done}:
            mov.u32 equalsBefore, equals;
            """);
        for (int distance = 1; distance < 32; distance *= 2)
        {
            ptx.Add($"""
                shfl.sync.up.b32 remoteCount, equalsBefore, {distance}, 0, 0xFFFFFFFF;
                setp.ge.u32 isLane, lane, {distance};
                @isLane add.u32 equalsBefore, equalsBefore, remoteCount;
                """);
        }

        ptx.Add($"""
            bar.sync 0;
            setp.eq.u32 isFirst, lane, 31;
            mov.u32 address32, warpCounts;
            shl.b32 scratch, warp, 2;
            add.u32 address32, address32, scratch;
            @isFirst st.shared.u32 [address32], equalsBefore;
            bar.sync 0;
            sub.u32 equalsBefore, equalsBefore, equals;
            mov.u32 address32, warpCounts;
            mov.u32 scratch, 0;
            {next}:
            setp.ge.u32 again, scratch, warp;
            @again bra {next}_DONE;
            ld.shared.u32 remoteCount, [address32];
            add.u32 equalsBefore, equalsBefore, remoteCount;
            add.u32 address32, address32, 4;
            add.u32 scratch, scratch, 1;
            bra {next};
            {next}_DONE:
            cvt.u64.u32 mass, equalsBefore;
            sub.u64 mass, cutCount, mass;
            cvt.u64.u32 running, equalsBefore;
            setp.lt.u64 again, cutCount, running;
            @again mov.u64 mass, 0;
            cvt.u64.u32 running, equals;
            min.u64 mass, mass, running;
            cvt.u32.u64 kept, mass;
            mad.lo.u64 own, mass, cutWeight, own;
            mov.u64 running, own;
            """);
        ScanMass(ptx);
        string sum = ptx.Label("WARPS");
        ptx.Add($"""
            mov.u32 address32, warpMasses;
            shl.b32 scratch, warp, 3;
            add.u32 address32, address32, scratch;
            @isFirst st.shared.u64 [address32], running;
            bar.sync 0;
            sub.u64 running, running, own;
            mov.u64 total, 0;
            mov.u32 address32, warpMasses;
            mov.u32 scratch, 0;
            {sum}:
            ld.shared.u64 mass, [address32];
            setp.lt.u32 again, scratch, warp;
            @again add.u64 running, running, mass;
            add.u64 total, total, mass;
            add.u32 address32, address32, 8;
            add.u32 scratch, scratch, 1;
            setp.lt.u32 again, scratch, warps;
            @again bra {sum};
            """);
    }

    /// <summary>random: 64 bits of Philox 4x32-10 with the seed as its key and the position as its counter.</summary>
    private static void Random(PtxWriter ptx)
    {
        ptx.Add("""
            mov.u32 word0, position;
            mov.u32 word1, 0;
            mov.u32 word2, 0;
            mov.u32 word3, 0;
            """);
        for (int round = 0; round < 10; round++)
        {
            ptx.Add("""
                mul.hi.u32 high32, word0, 0xD2511F53;
                mul.lo.u32 low32, word0, 0xD2511F53;
                mul.hi.u32 scratch, word2, 0xCD9E8D57;
                xor.b32 scratch, scratch, word1;
                xor.b32 word0, scratch, seedLow;
                mul.lo.u32 word1, word2, 0xCD9E8D57;
                xor.b32 word2, high32, word3;
                xor.b32 word2, word2, seedHigh;
                mov.u32 word3, low32;
                add.u32 seedLow, seedLow, 0x9E3779B9;
                add.u32 seedHigh, seedHigh, 0xBB67AE85;
                """);
        }

        ptx.Add("mov.b64 random, {word0, word1};");
    }

    /// <summary>The random number's share of the total falls into one segment; its thread finds the token.</summary>
    private static void Draw(PtxWriter ptx) => Walk(ptx.Add("""
        mul.hi.u64 random, random, total;
        setp.le.u64 inside, running, random;
        add.u64 mass, running, own;
        setp.gt.and.u64 inside, mass, random, inside;
        @!inside bra WALKED;
        mov.u32 item, from;
        WALK:
        """));

    private static void Walk(PtxWriter ptx)
    {
        Load(ptx);
        Key(ptx);
        Weight(ptx);
        ptx.Add("""
            setp.gt.u32 isAbove, key, cutKey;
            setp.eq.u32 isCut, key, cutKey;
            setp.ne.and.u32 isCut, kept, 0, isCut;
            @isCut sub.u32 kept, kept, 1;
            or.pred isAbove, isAbove, isCut;
            @isAbove add.u64 running, running, weight;
            setp.gt.u64 again, running, random;
            @again bra FOUND;
            add.u32 item, item, 1;
            setp.lt.u32 again, item, to;
            @again bra WALK;
            FOUND:
            st.shared.u32 [foundToken], item;
            WALKED:
            bar.sync 0;
            ld.shared.u32 token, [foundToken];
            """);
    }
}
