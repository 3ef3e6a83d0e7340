using KernelGen.Generator.Models;

namespace KernelGen.Generator.Planning;

/// <summary>Spans the search space of a spec's CPU tiles and keeps what each instruction set can hold in registers.</summary>
internal static class CpuPlanner
{
    public static CpuPlan Plan(KernelSpec spec)
    {
        List<CpuFamilyPlan> families = new();
        List<DroppedTile> dropped = new();
        List<string> fallenBack = new();
        foreach (CpuTarget target in CpuTarget.All)
        {
            List<(int M, int N)> tiles = new();
            foreach ((int m, int n) in Candidates(spec, target))
            {
                if (target.Reject(m, n) is { } reason)
                {
                    dropped.Add(new DroppedTile(KernelNames.CpuGemm(new CpuTile(m, n, target.K), target), reason));
                }
                else
                {
                    tiles.Add((m, n));
                }
            }

            if (tiles.Count == 0)
            {
                tiles.AddRange(target.DefaultTiles);
                if (!fallenBack.Contains(target.Suffix))
                {
                    fallenBack.Add(target.Suffix);
                }
            }

            families.AddRange(tiles
                .GroupBy(tile => tile.N)
                .OrderBy(group => group.Key)
                .Select(group => new CpuFamilyPlan(target.InstructionSet, group.Key, new(WithOneRow(group.Select(tile => tile.M))))));
        }

        return new CpuPlan(new(families), new(dropped), new(fallenBack));
    }

    /// <summary>The product of the lists; a list that was left out takes the curated values.</summary>
    private static IEnumerable<(int M, int N)> Candidates(KernelSpec spec, CpuTarget target)
    {
        // Scalar code is the portable fallback, not something to tune: its tile is curated.
        if (target.InstructionSet == CpuInstructionSet.Scalar || (spec.CpuTileM.Count == 0 && spec.CpuTileN.Count == 0))
        {
            return target.DefaultTiles;
        }

        IEnumerable<int> heights = spec.CpuTileM.Count > 0 ? spec.CpuTileM : target.DefaultTiles.Select(tile => tile.M);
        IEnumerable<int> widths = spec.CpuTileN.Count > 0 ? spec.CpuTileN : target.DefaultTiles.Select(tile => tile.N);
        return from n in widths.Distinct() from m in heights.Concat(TileHeights(target, n)).Distinct() select (m, n);
    }

    /// <summary>Tile registers have one height, which no list need name: what they can hold is always there.</summary>
    private static IEnumerable<int> TileHeights(CpuTarget target, int n) =>
        new[] { CpuTarget.TileRows, 2 * CpuTarget.TileRows }.Where(m => target.UsesTiles(m) && target.Reject(m, n) is null);

    /// <summary>A single row, as in token-by-token generation, must not pay for a tall tile.</summary>
    private static IEnumerable<int> WithOneRow(IEnumerable<int> heights) => heights.Append(1).Distinct().OrderBy(m => m);
}
