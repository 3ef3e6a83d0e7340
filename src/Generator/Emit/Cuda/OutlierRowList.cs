using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// What a quantization kernel leaves of each row beside its int8 values: up to eight outliers, column and value in float32, in no particular order.
/// The multiplication would otherwise ask for them where they lie in A, a line of the L1 cache per value and tile. Lists are used where the whole
/// call has no more than eight outlier columns, so a row that has more need not list them all.
/// </summary>
internal static class OutlierRowList
{
    /// <summary>The column of an unused entry.</summary>
    public const string NoColumn = "0xFFFFFFFF";

    private const int Entries = GemmNumbers.OutlierChunk, EntryBytes = 8, ListBytes = Entries * EntryBytes;

    /// <summary>Bytes that move at a time: two entries, those of neighbouring rows side by side in global memory.</summary>
    public const int PairBytes = 2 * EntryBytes, Pairs = Entries / 2;

    public static void Declare(PtxWriter ptx, int rowsPerBlock) => ptx.Add($"""
        .shared .align 16 .b8 outlierLists[{rowsPerBlock * ListBytes}];
        .shared .align 4 .b32 outlierCounts[{rowsPerBlock}];
        .reg .b32 listAt, listCountAt, listSlot, listColumn, listWords<4>;
        .reg .b64 rowOutliers, listPointer;
        .reg .b32 rowOutlierPitch;
        .reg .pred lists, listed;
        """);

    /// <summary>Empties the list of the row; a barrier of its threads must follow.</summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="rowInBlock">A register with the row's number in its block, or null where the block has one.</param>
    public static void Start(PtxWriter ptx, string? rowInBlock)
    {
        ptx.Add("""
            mov.u32 listAt, outlierLists;
            mov.u32 listCountAt, outlierCounts;
            """);
        if (rowInBlock is not null)
        {
            ptx.Add($"""
                mad.lo.u32 listAt, {rowInBlock}, {ListBytes}, listAt;
                mad.lo.u32 listCountAt, {rowInBlock}, 4, listCountAt;
                """);
        }

        ptx.Add($$"""
            setp.ne.u64 lists, rowOutliers, 0;
            setp.lt.u32 listed, thread, {{Entries}};
            mad.lo.u32 listSlot, thread, {{EntryBytes}}, listAt;
            mov.u32 listColumn, {{NoColumn}};
            @listed st.shared.v2.b32 [listSlot], {listColumn, listColumn};
            setp.eq.u32 listed, thread, 0;
            @listed st.shared.b32 [listCountAt], 0;
            """);
    }

    /// <summary>Lists a value, if the list has room.</summary>
    public static void Append(PtxWriter ptx, string column, string value) => ptx.Add($$"""
        atom.shared.add.u32 listSlot, [listCountAt], 1;
        setp.lt.u32 listed, listSlot, {{Entries}};
        mad.lo.u32 listSlot, listSlot, {{EntryBytes}}, listAt;
        @listed st.shared.v2.b32 [listSlot], {{{column}}, {{value}}};
        """);

    /// <summary>Lists those of the eight values x0... of <c>group</c> whose bit is in <c>maskByte</c>.</summary>
    public static void AppendGroup(PtxWriter ptx)
    {
        string done = ptx.Label("APPENDED");
        ptx.Add($"""
            setp.ne.and.u32 listed, maskByte, 0, lists;
            @!listed bra {done};
            shl.b32 listColumn, group, 3;
            """);
        for (int i = 0; i < 8; i++)
        {
            string next = ptx.Label("NOT_LISTED");
            ptx.Add($"""
                and.b32 scratch, maskByte, {1 << i};
                setp.eq.u32 listed, scratch, 0;
                @listed bra {next};
                """);
            Append(ptx, "listColumn", $"x{i}");
            ptx.Add($"{next}:").Add("add.u32 listColumn, listColumn, 1;");
        }

        ptx.Add($"{done}:");
    }

    /// <summary>The row's list to global memory, [pair][row], if the call wants lists.</summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="barrier">Brings the row's threads together.</param>
    public static void Store(PtxWriter ptx, string barrier)
    {
        string done = ptx.Label("ROW_LISTED");
        ptx.Add($$"""
            @!lists bra {{done}};
            {{barrier}}
            setp.lt.u32 listed, thread, {{Pairs}};
            mad.lo.u32 listSlot, thread, {{PairBytes}}, listAt;
            @listed ld.shared.v4.b32 {listWords0, listWords1, listWords2, listWords3}, [listSlot];
            mul.lo.u32 listSlot, thread, rowOutlierPitch;
            add.u32 listSlot, listSlot, row;
            mul.wide.u32 listPointer, listSlot, {{PairBytes}};
            add.u64 listPointer, listPointer, rowOutliers;
            @listed st.global.v4.b32 [listPointer], {listWords0, listWords1, listWords2, listWords3};
            {{done}}:
            """);
    }
}
