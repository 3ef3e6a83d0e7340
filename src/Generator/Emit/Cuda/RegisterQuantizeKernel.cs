using System.Globalization;
using System.Runtime.InteropServices;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// Quantization of 16-bit rows that stay in registers between their one reading and their writing. A block holds several rows, each of one warp or
/// more: the columns in which its rows have outliers are collected in shared memory, so that systematic outliers don't make every row of A ask for
/// the same atomic.
/// Outlier columns need no launch of their own where the registers of a cluster hold all rows: its blocks mark them in each other's shared memory, wait, and quantize
/// what they still hold. For more rows one launch marks and a second one quantizes; it reads its rows beside the first one. A launch whose blocks wait for each other
/// would have to begin when all of the device is free, which takes longer.
/// A row is quantized without its own outliers before the marks of the others are there. Then its values in other marked columns are taken out again, and only a row whose largest
/// value is among them is quantized anew.
/// </summary>
internal static class RegisterQuantizeKernel
{
    /// <summary>Values of one 16-byte load, and loads that a thread keeps.</summary>
    private const int Group = 8, Groups = QuantizePlan.RegisterGroups;

    public static string Emit(QuantizePlan plan)
    {
        PtxWriter ptx = new();
        ptx.Add($$"""
            .version {{(Marks(plan) ? "8.1" : "8.0")}}
            .target sm_90
            .address_size 64
            {{(Marks(plan) ? ".extern .shared .align 16 .b8 masks[];" : "")}}
            .visible .entry {{plan.Name}}(.param .align 8 .b8 args[{{Marshal.SizeOf<QuantizeArguments>().ToString(CultureInfo.InvariantCulture)}}])
            .maxntid 1024, 1, 1
            {
            .shared .align 8 .b64 warpLargest[32];
            {{(Marks(plan) ? ".reg .b32 blockMask;" : "")}}
            {{(plan.DetectsAndQuantizes ? ".shared .align 8 .b64 marksBarrier;\n.reg .b32 callMask, marksAt, peer, peers, peerAddress, peerBarrier;" : "")}}
            .reg .b32 thread, threads, blockThread, team, teamBarrier, teams, firstWarp, maskWords, row, rows, groups, group, element, lane, warp, warps, k, kPadded, stride, scratch, thresholds, largest, kept, largestPair, keptPair, infinity;
            .reg .b32 magnitude, keeps, bits, address32, packedLow, packedHigh, rowThreads, zeroPoint;
            .reg .b64 input, quantized, rowSteps, rowZeros, absmaxAt, mask, pointer, offset;
            .reg .f32 high, prescale, scale, scaledHigh, rowStep, remoteFloat;
            .reg .pred present, isFirst, isFinite, isZero, several, full, tail;
            .reg .b16 halfLow, halfHigh;
            .reg .b32 groupOutliers, rowOutlierBytes;
            {{(Anticipates(plan) ? $".reg .b32 ownBytes, markedBytes, markedByte<{Groups}>;\n.reg .pred isSettled, isLargest;" : "")}}
            {{(ReadsAhead(plan) ? ".reg .pred isReady;" : "")}}
            .reg .pred inRow<{{Groups}}>;
            .reg .b16 h<{{Group}}>;
            .reg .f32 x<{{Group}}>;
            """);
        for (int i = 0; i < Groups; i++)
        {
            ptx.Registers("b32", HeldRow.Raw(i));
        }

        bool lists = QuantizeKernel.ListsRows(plan);
        if (lists)
        {
            OutlierRowList.Declare(ptx, rowsPerBlock: 32);
            QuantizeKernel.Field(ptx, "rowOutliers", nameof(QuantizeArguments.RowOutliers), "u64");
            QuantizeKernel.Field(ptx, "rowOutlierPitch", nameof(QuantizeArguments.RowOutlierPitch), "u32");
        }

        QuantizeKernel.Field(ptx, "input", nameof(QuantizeArguments.Input), "u64");
        QuantizeKernel.Field(ptx, "quantized", nameof(QuantizeArguments.Quantized), "u64");
        QuantizeKernel.Field(ptx, "rowSteps", nameof(QuantizeArguments.RowSteps), "u64");
        QuantizeKernel.Field(ptx, "rowZeros", nameof(QuantizeArguments.RowZeros), "u64");
        QuantizeKernel.Field(ptx, "absmaxAt", nameof(QuantizeArguments.Absmax), "u64");
        QuantizeKernel.Field(ptx, "mask", nameof(QuantizeArguments.OutlierMask), "u64");
        QuantizeKernel.Field(ptx, "k", nameof(QuantizeArguments.K), "u32");
        QuantizeKernel.Field(ptx, "kPadded", nameof(QuantizeArguments.KPadded), "u32");
        QuantizeKernel.Field(ptx, "stride", nameof(QuantizeArguments.InputStride), "u32");
        QuantizeKernel.Field(ptx, "rows", nameof(QuantizeArguments.Rows), "u32");
        QuantizeKernel.Field(ptx, "warps", nameof(QuantizeArguments.WarpsPerRow), "u32");
        QuantizeKernel.Field(ptx, "thresholds", nameof(QuantizeArguments.ThresholdPair), "b32");
        ptx.Add($"""
            {(plan.Stage == QuantizeStage.Detect ? "" : "griddepcontrol.launch_dependents;")}
            mov.u32 blockThread, %tid.x;
            mov.u32 threads, %ntid.x;
            and.b32 lane, blockThread, 31;
            shr.u32 warp, blockThread, 5;
            shr.u32 teams, threads, 5;
            div.u32 teams, teams, warps;
            div.u32 team, warp, warps;
            mul.lo.u32 firstWarp, team, warps;
            shl.b32 thread, firstWarp, 5;
            sub.u32 thread, blockThread, thread;
            mov.u32 row, %ctaid.x;
            mad.lo.u32 row, row, teams, team;
            setp.gt.u32 several, warps, 1;
            add.u32 teamBarrier, team, 1;
            shl.b32 rowThreads, warps, 5;
            shr.u32 groups, kPadded, 3;
            """);
        if (Marks(plan))
        {
            // As long as the row: what the kernel takes of shared memory, the blocks of a multiplication beside it cannot have.
            ptx.Add("mov.u32 blockMask, masks;");
            if (plan.DetectsAndQuantizes)
            {
                ptx.Add("shr.u32 callMask, kPadded, 3;").Add("add.u32 callMask, callMask, blockMask;");
            }

            ForMaskWords(ptx, "ZERO_MASK", "blockMask", () => ptx.Add("st.shared.b32 [address32], 0;"));
            if (plan.DetectsAndQuantizes)
            {
                // A peer may write to this block's copy once it is known to run, to have cleared it, and to count what comes: every block's mask, all of it.
                ForMaskWords(ptx, "ZERO_CALL_MASK", "callMask", () => ptx.Add("st.shared.b32 [address32], 0;"));
                ptx.Add("""
                    mov.u32 marksAt, marksBarrier;
                    mov.u32 peers, %cluster_nctarank;
                    setp.ne.u32 isZero, blockThread, 0;
                    @isZero bra COUNTS;
                    shr.u32 scratch, kPadded, 3;
                    mul.lo.u32 scratch, scratch, peers;
                    mbarrier.init.shared::cta.b64 [marksAt], 1;
                    fence.mbarrier_init.release.cluster;
                    mbarrier.arrive.expect_tx.shared::cta.b64 _, [marksAt], scratch;
                    COUNTS:
                    barrier.cluster.arrive.release;
                    """);
            }

            ptx.Add("bar.sync 0;");
        }

        ptx.Add($"""
            setp.ge.u32 present, row, rows;
            @present bra {(plan.DetectsAndQuantizes ? "ROW_MARKED" : "ROW_DONE")};
            mul.wide.u32 offset, row, stride;
            shl.b64 offset, offset, 1;
            add.u64 input, input, offset;
            {(plan.Stage == QuantizeStage.Detect ? "" : "mul.wide.u32 offset, row, kPadded;\nadd.u64 quantized, quantized, offset;")}
            mov.u32 largestPair, 0;
            mov.u32 keptPair, 0;
            mov.u32 infinity, {(plan.Input == ElementFormat.BFloat16 ? "0x7F80" : "0x7C00")};
            """);
        AwaitInput(ptx, plan);
        LoadRow(ptx);
        if (lists)
        {
            OutlierRowList.Start(ptx, "team");
            ptx.Add("bar.warp.sync 0xFFFFFFFF;");
        }

        bool quantizes = plan.Stage != QuantizeStage.Detect, anticipates = Anticipates(plan), marks = Marks(plan) && !plan.DetectsAndQuantizes;
        ptx.Add("mov.u32 rowOutlierBytes, 0;");
        if (ReadsAhead(plan))
        {
            ptx.Add("@!isReady bra MARKS_THERE;");
        }

        MeasureRow(ptx, plan, byThreshold: Marks(plan) || anticipates, byMask: false);
        if (anticipates)
        {
            ptx.Add("mov.u32 ownBytes, rowOutlierBytes;").Add("setp.ne.u32 isSettled, thread, thread;");
        }

        if (plan.DetectsAndQuantizes)
        {
            TakeOutliers(ptx, plan, marks: true, lists: false);
            ShareMarks(ptx);
        }

        if (!quantizes)
        {
            ptx.Add("@!isFinite bra ROW_DONE;");
        }
        else
        {
            ptx.Add(anticipates ? "QUANTIZE_ROW:" : "").Add(plan.Input == ElementFormat.BFloat16
                ? "shl.b32 kept, kept, 16;\nmov.b32 high, kept;"
                : "cvt.u16.u32 halfLow, kept;\ncvt.f32.f16 high, halfLow;");
            QuantizeKernel.SymmetricFactors(ptx);
            QuantizeKernel.StoreStatistics(ptx);
        }

        if (marks || lists)
        {
            TakeOutliers(ptx, plan, marks, lists);
        }

        if (quantizes)
        {
            for (int i = 0; i < Groups; i++)
            {
                GroupNumber(ptx, i);
                QuantizeGroup(ptx, plan, i);
            }
        }

        if (lists)
        {
            StoreList(ptx);
        }

        if (anticipates)
        {
            QuantizeAgain(ptx, plan, lists);
        }

        ptx.Add("ROW_DONE:");
        if (marks)
        {
            ptx.Add("bar.sync 0;");
            FlushMask(ptx, "blockMask");
        }

        return ptx.Add("""
            ret;
            }
            """).ToString();
    }

    /// <summary>Whether the kernel finds outliers by their values and sets the bits of their columns.</summary>
    private static bool Marks(QuantizePlan plan) => plan.Stage == QuantizeStage.Detect || plan.DetectsAndQuantizes || plan.ExcludesElements;

    /// <summary>Whether rows may be quantized before all outlier columns are known.</summary>
    private static bool Anticipates(QuantizePlan plan) => ReadsAhead(plan) || plan.DetectsAndQuantizes;

    /// <summary>Whether the kernel ahead may be one that reads the same rows.</summary>
    private static bool ReadsAhead(QuantizePlan plan) => plan.Stage == QuantizeStage.Quantize && plan.ExcludesColumns;

    /// <summary>
    /// What marks columns lets the next kernel start when its input is there, the others at once (<see cref="QuantizeArguments.InputReady"/>). Only the kernel that has
    /// waited may count on what its L1 holds; the fence makes the others' loads as good, and costs less than relaxed loads, which pass by L1 and come twice where there are outliers.
    /// </summary>
    private static void AwaitInput(PtxWriter ptx, QuantizePlan plan)
    {
        if (ReadsAhead(plan))
        {
            QuantizeKernel.Field(ptx, "scratch", nameof(QuantizeArguments.InputReady), "u32");
            ptx.Add("""
                setp.ne.u32 isReady, scratch, 0;
                @isReady fence.acq_rel.gpu;
                @!isReady griddepcontrol.wait;
                """);
            return;
        }

        ptx.Add("griddepcontrol.wait;").Add(plan.Stage == QuantizeStage.Detect ? "griddepcontrol.launch_dependents;" : "");
    }

    private static void GroupNumber(PtxWriter ptx, int i) => ptx.Add(i == 0 ? "mov.u32 group, thread;" : "add.u32 group, group, rowThreads;");

    /// <summary>All of a thread's loads are under way before the first is used; the last values of a row that are no whole load come one by one.</summary>
    private static void LoadRow(PtxWriter ptx)
    {
        for (int i = 0; i < Groups; i++)
        {
            GroupNumber(ptx, i);
            HeldRow.Load(ptx, i);
        }
    }

    /// <summary>
    /// largestPair: of all magnitudes, NaN if there is one. keptPair: of those in the int8 part. What is left out of it loses its value in the registers; outliers by threshold
    /// leave a bit each in the group's byte of rowOutlierBytes.
    /// </summary>
    private static void MeasureGroup(PtxWriter ptx, QuantizePlan plan, int i, bool byThreshold, bool byMask)
    {
        string type = plan.Input == ElementFormat.BFloat16 ? "bf16x2" : "f16x2", measured = ptx.Label("GROUP_MEASURED");
        if (i > 0)
        {
            ptx.Add($"@!inRow{i} bra {measured};");
        }

        ptx.Add(byMask ? $"bfe.u32 groupOutliers, markedBytes, {8 * i}, 8;" : "mov.u32 groupOutliers, 0;");
        HeldRow.Measure(ptx, plan.Input, i, byThreshold, excludes: plan.ExcludesElements || Anticipates(plan));
        if (byMask)
        {
            string unmasked = ptx.Label("NO_OUTLIER_COLUMN");
            ptx.Add($"""
                setp.eq.u32 isZero, groupOutliers, 0;
                @isZero bra {unmasked};
                """);
            for (int pair = 0; pair < Group / 2; pair++)
            {
                ptx.Add($"""
                    and.b32 scratch, groupOutliers, {1 << (2 * pair)};
                    setp.ne.u32 isZero, scratch, 0;
                    @isZero and.b32 {HeldRow.Raw(i)[pair]}, {HeldRow.Raw(i)[pair]}, 0xFFFF0000;
                    and.b32 scratch, groupOutliers, {2 << (2 * pair)};
                    setp.ne.u32 isZero, scratch, 0;
                    @isZero and.b32 {HeldRow.Raw(i)[pair]}, {HeldRow.Raw(i)[pair]}, 0x0000FFFF;
                    """);
            }

            ptx.Add($"{unmasked}:");
            foreach (string raw in HeldRow.Raw(i))
            {
                ptx.Add($"""
                    and.b32 magnitude, {raw}, 0x7FFF7FFF;
                    max.{type} keptPair, keptPair, magnitude;
                    """);
            }
        }

        if (byThreshold)
        {
            ptx.Add($"bfi.b32 rowOutlierBytes, groupOutliers, rowOutlierBytes, {8 * i}, 8;");
        }

        ptx.Add($"{measured}:");
    }

    /// <summary>largest, kept and isFinite of the row, and by threshold every thread's outliers in rowOutlierBytes.</summary>
    private static void MeasureRow(PtxWriter ptx, QuantizePlan plan, bool byThreshold, bool byMask)
    {
        for (int i = 0; i < Groups; i++)
        {
            MeasureGroup(ptx, plan, i, byThreshold, byMask);
        }

        Reduce(ptx, plan);
    }

    /// <summary>Bits of magnitudes order like the magnitudes, NaN above all: integer maxima over the row, which every thread gets.</summary>
    private static void Reduce(PtxWriter ptx, QuantizePlan plan)
    {
        string reduced = ptx.Label("REDUCED");
        bool all = plan.Outliers == OutlierPolicy.None;
        HeldRow.WarpMaximum(ptx, "largest", "largestPair");
        if (!all)
        {
            HeldRow.WarpMaximum(ptx, "kept", "keptPair");
        }
        else
        {
            ptx.Add("mov.u32 kept, largest;");
        }

        ptx.Add($$"""
            @!several bra {{reduced}};
            setp.eq.u32 isFirst, lane, 0;
            mov.u32 address32, warpLargest;
            shl.b32 scratch, warp, 3;
            add.u32 scratch, scratch, address32;
            @isFirst st.shared.v2.b32 [scratch], {largest, kept};
            bar.sync teamBarrier, rowThreads;
            mov.u32 largest, 0;
            mov.u32 kept, 0;
            setp.lt.u32 present, lane, warps;
            add.u32 scratch, firstWarp, lane;
            shl.b32 scratch, scratch, 3;
            add.u32 scratch, scratch, address32;
            @present ld.shared.v2.b32 {largest, kept}, [scratch];
            redux.sync.max.u32 largest, largest, 0xFFFFFFFF;
            redux.sync.max.u32 kept, kept, 0xFFFFFFFF;
            {{reduced}}:
            setp.lt.u32 isFinite, largest, infinity;
            """);
    }

    /// <summary>
    /// A thread's outliers to the block's mask, or to the row's list, or both, one by one: they are read again, from L1. Few threads have any. What is removed becomes zero in
    /// the quantized row; isLargest: whether the row's scale was of such a value.
    /// </summary>
    private static void TakeOutliers(PtxWriter ptx, QuantizePlan plan, bool marks, bool lists, bool removes = false)
    {
        string next = ptx.Label("NEXT_OUTLIER"), done = ptx.Label("OUTLIERS_TAKEN");
        ptx.Add($"""
            selp.b32 rowOutlierBytes, rowOutlierBytes, 0, isFinite;
            {next}:
            setp.eq.u32 present, rowOutlierBytes, 0;
            @present bra {done};
            brev.b32 bits, rowOutlierBytes;
            bfind.shiftamt.u32 bits, bits;
            sub.u32 scratch, rowOutlierBytes, 1;
            and.b32 rowOutlierBytes, rowOutlierBytes, scratch;
            shr.u32 group, bits, 3;
            mad.lo.u32 group, group, rowThreads, thread;
            and.b32 bits, bits, 7;
            mad.lo.u32 element, group, 8, bits;
            """);
        if (marks)
        {
            ptx.Add("""
                mov.u32 address32, blockMask;
                shr.u32 scratch, element, 5;
                mad.lo.u32 address32, scratch, 4, address32;
                and.b32 bits, element, 31;
                mov.u32 scratch, 1;
                shl.b32 bits, scratch, bits;
                red.shared.or.b32 [address32], bits;
                """);
        }

        string unlisted = ptx.Label("UNLISTED");
        if (lists && !removes)
        {
            ptx.Add($"@!lists bra {unlisted};");
        }

        if (lists || removes)
        {
            ptx.Add("""
                mul.wide.u32 offset, element, 2;
                add.u64 pointer, input, offset;
                """);
            ptx.Add(plan.Input == ElementFormat.BFloat16
                ? "ld.global.u16 scratch, [pointer];\nshl.b32 scratch, scratch, 16;\nmov.b32 x0, scratch;"
                : "ld.global.b16 halfLow, [pointer];\ncvt.f32.f16 x0, halfLow;");
        }

        if (removes)
        {
            ptx.Add("""
                abs.f32 x1, x0;
                setp.eq.or.f32 isLargest, x1, high, isLargest;
                cvt.u64.u32 offset, element;
                add.u64 pointer, quantized, offset;
                mov.b16 halfLow, 0;
                st.global.u8 [pointer], halfLow;
                """);
        }

        if (lists)
        {
            ptx.Add(removes ? $"@!lists bra {unlisted};" : "");
            OutlierRowList.Append(ptx, "element", "x0");
            ptx.Add($"{unlisted}:");
        }

        ptx.Add($"bra {next};").Add($"{done}:");
    }

    /// <summary>
    /// Writes what the block has marked to the call's mask, for the multiplication, and to the shared memory of all blocks of the cluster. What is written there counts itself as it
    /// arrives, so words without a mark are sent too: a barrier of the cluster would wait for all that a block has under way, in global memory as well. All threads
    /// meet here; those without a row are done.
    /// </summary>
    private static void ShareMarks(PtxWriter ptx)
    {
        ptx.Add("""
            ROW_MARKED:
            bar.sync 0;
            barrier.cluster.wait.acquire;
            """);
        ForMaskWords(ptx, "TELL_PEERS", "blockMask", () => ptx.Add("""
            ld.shared.b32 bits, [address32];
            mov.u32 peer, 0;
            mad.lo.u32 address32, group, 4, callMask;
            NEXT_PEER:
            mapa.shared::cluster.u32 peerAddress, address32, peer;
            mapa.shared::cluster.u32 peerBarrier, marksAt, peer;
            red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.or.b32 [peerAddress], bits, [peerBarrier];
            add.u32 peer, peer, 1;
            setp.lt.u32 present, peer, peers;
            @present bra NEXT_PEER;
            """));
        FlushMask(ptx, "blockMask");
        ptx.Add("""
            setp.ge.u32 present, row, rows;
            @present bra ROW_QUANTIZED;
            """);
    }

    private static void StoreList(PtxWriter ptx) => OutlierRowList.Store(ptx, "bar.warp.sync 0xFFFFFFFF;\n@several bar.sync teamBarrier, rowThreads;");

    /// <summary>Whether the predicate holds for any thread of the row.</summary>
    private static void AnyOfRow(PtxWriter ptx, string predicate) => ptx.Add($"""
        vote.sync.any.pred {predicate}, {predicate}, 0xFFFFFFFF;
        @several bar.red.or.pred {predicate}, teamBarrier, rowThreads, {predicate};
        """);

    /// <summary>
    /// Behind the rows as their own outliers leave them: all marks are awaited, and what else a row holds in a marked column is taken out of it. Its scale stays, unless that was
    /// its largest value. Where rows were not there before the marks were, this comes first.
    /// </summary>
    private static void QuantizeAgain(PtxWriter ptx, QuantizePlan plan, bool lists)
    {
        ptx.Add("@isSettled bra ROW_DONE;");
        if (plan.DetectsAndQuantizes)
        {
            // Also a block without rows: as long as it is told of marks, it has to be there.
            ptx.Add("""
                ROW_QUANTIZED:
                mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 present, [marksAt], 0;
                @!present bra ROW_QUANTIZED;
                setp.ge.u32 present, row, rows;
                @present bra ROW_DONE;
                """);
        }
        else
        {
            ptx.Add("griddepcontrol.wait;").Add("MARKS_THERE:");
        }

        for (int i = 0; i < Groups; i++)
        {
            GroupNumber(ptx, i);
            ptx.Add($"mov.u32 markedByte{i}, 0;").Add(plan.DetectsAndQuantizes
                ? $"""
                    mov.u32 address32, callMask;
                    add.u32 address32, address32, group;
                    @inRow{i} ld.shared.u8 markedByte{i}, [address32];
                    """
                : $"""
                    cvt.u64.u32 offset, group;
                    add.u64 pointer, mask, offset;
                    @inRow{i} ld.global.u8 markedByte{i}, [pointer];
                    """);
        }

        ptx.Add("mov.u32 markedBytes, markedByte0;");
        for (int i = 1; i < Groups; i++)
        {
            ptx.Add($"bfi.b32 markedBytes, markedByte{i}, markedBytes, {8 * i}, 8;");
        }

        ptx.Add($"""
            {(ReadsAhead(plan) ? "@!isReady bra QUANTIZE_BY_MARKS;" : "")}
            not.b32 rowOutlierBytes, ownBytes;
            and.b32 rowOutlierBytes, rowOutlierBytes, markedBytes;
            setp.ne.and.u32 present, rowOutlierBytes, 0, isFinite;
            """);
        AnyOfRow(ptx, "present");
        ptx.Add("@!present bra ROW_DONE;").Add("setp.ne.u32 isLargest, thread, thread;");
        TakeOutliers(ptx, plan, marks: false, lists, removes: true);
        AnyOfRow(ptx, "isLargest");
        ptx.Add("@isLargest bra QUANTIZE_BY_MARKS;");
        if (lists)
        {
            StoreList(ptx);
        }

        ptx.Add("""
            bra ROW_DONE;
            QUANTIZE_BY_MARKS:
            setp.eq.u32 isSettled, thread, thread;
            mov.u32 rowOutlierBytes, markedBytes;
            mov.u32 keptPair, 0;
            """);
        if (lists)
        {
            OutlierRowList.Start(ptx, "team");
            ptx.Add("bar.warp.sync 0xFFFFFFFF;");
        }

        MeasureRow(ptx, plan, byThreshold: false, byMask: true);
        ptx.Add("bra QUANTIZE_ROW;");
    }

    /// <summary>A mask in shared memory to the call's, without looking what is there: nothing has to wait for an atomic that returns nothing.</summary>
    private static void FlushMask(PtxWriter ptx, string words) => ForMaskWords(ptx, "FLUSH_MASK", words, () => ptx.Add("""
        ld.shared.b32 bits, [address32];
        setp.eq.u32 isZero, bits, 0;
        mul.wide.u32 offset, group, 4;
        add.u64 pointer, mask, offset;
        @!isZero red.global.or.b32 [pointer], bits;
        """));

    /// <summary>Deals the words of a mask, number <c>group</c> at <c>address32</c>, out among the block's threads.</summary>
    private static void ForMaskWords(PtxWriter ptx, string name, string words, System.Action body)
    {
        string loop = ptx.Label(name), done = ptx.Label(name + "_DONE");
        ptx.Add($"""
            mov.u32 group, blockThread;
            shr.u32 maskWords, kPadded, 5;
            {loop}:
            setp.ge.u32 present, group, maskWords;
            @present bra {done};
            mov.u32 address32, {words};
            mad.lo.u32 address32, group, 4, address32;
            """);
        body();
        ptx.Add($"""
            add.u32 group, group, threads;
            bra {loop};
            {done}:
            """);
    }

    private static void QuantizeGroup(PtxWriter ptx, QuantizePlan plan, int i)
    {
        string skip = ptx.Label("BEYOND_ROW");
        ptx.Add($"@!inRow{i} bra {skip};");
        HeldRow.Quantize(ptx, plan.Input, i);
        ptx.Add($$"""
            selp.b32 packedLow, packedLow, 0, isFinite;
            selp.b32 packedHigh, packedHigh, 0, isFinite;
            mul.wide.u32 offset, group, 8;
            add.u64 pointer, quantized, offset;
            st.global.v2.b32 [pointer], {packedLow, packedHigh};
            {{skip}}:
            """);
    }
}
