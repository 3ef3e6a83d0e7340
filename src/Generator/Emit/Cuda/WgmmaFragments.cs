using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>Which results of a warpgroup's tile a thread of the wgmma kernels holds, and how it comes to the values of their columns.</summary>
internal static class WgmmaFragments
{
    /// <summary>Lanes that a thread's values per column can come from: one of a pair, in each quarter of a warp.</summary>
    public const int LaneSources = 8;

    /// <summary>The rows that a thread holds: two per block of 64, eight apart.</summary>
    public static void ForRows(WgmmaGemmPlan plan, System.Action<int, int> body)
    {
        for (int row = 0; row < plan.RowBlocks * 2; row++)
        {
            body(row, RowOffset(row));
        }
    }

    /// <summary>Where a thread's row is in its warpgroup's tile, from its first one.</summary>
    public static int RowOffset(int row) => (row / 2 * 64) + (row % 2 * 8);

    /// <summary>A thread's elements in eight neighbouring columns: accumulator index, row and column, each 0 or 1 of a pair.</summary>
    public static void ForFragment(WgmmaGemmPlan plan, int group, System.Action<int, int, int> body)
    {
        for (int block = 0; block < plan.RowBlocks; block++)
        {
            ForFragment(plan, block, group, body);
        }
    }

    /// <summary>Those of one block of 64 rows.</summary>
    public static void ForFragment(WgmmaGemmPlan plan, int block, int group, System.Action<int, int, int> body)
    {
        for (int i = 0; i < 4; i++)
        {
            body((block * plan.BlockN / 2) + (group * 4) + i, (block * 2) + (i / 2), i % 2);
        }
    }

    /// <summary>The numbers of a lane's values per column: one of 32 neighbours each.</summary>
    public static IEnumerable<int> ForLanes(WgmmaGemmPlan plan) => Enumerable.Range(0, plan.BlockN / 32);

    /// <summary>A value per column to the threads that hold the column: <c>name0</c> and <c>name1</c> of a group of eight columns.</summary>
    public static void FromLanes(PtxWriter ptx, string name, int group)
    {
        for (int column = 0; column < 2; column++)
        {
            ptx.Add($"shfl.sync.idx.b32 {name}{column}, {name}Of{group / 4}, source{(group % 4 * 2) + column}, 31, 0xFFFFFFFF;");
        }
    }
}
