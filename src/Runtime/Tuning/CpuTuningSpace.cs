using KernelGen.Backends.Cpu;
using KernelGen.Kernels;
using KernelGen.MatMul;

namespace KernelGen.Tuning;

/// <summary>A way to multiply on the processor: kernels that share packed weights, and how the work is cut.</summary>
/// <param name="Name">The computed name.</param>
/// <param name="Family">The kernels.</param>
/// <param name="Schedule">The cut.</param>
internal sealed record CpuVariant(string Name, CpuKernelFamily Family, CpuSchedule Schedule)
{
    public CpuVariant(CpuKernelFamily family, CpuSchedule schedule)
        : this(schedule.Name(family), family, schedule)
    {
    }

    /// <summary>What names the family: its tallest kernel.</summary>
    public string Group => Family.Variants[^1].Name;
}

/// <summary>Everything that there is to choose from on a processor, for one set of kernels.</summary>
internal sealed class CpuTuningSpace
{
    /// <summary>A result block of int32 beyond this leaves the L2 caches of processors that there are.</summary>
    private const int MostBlockBytes = 128 << 10;

    /// <summary>A tile that reuses registers less than this share of the best one is slower wherever rows fill both.</summary>
    private const double LeastReuse = 0.5;

    private static readonly int[] BlockColumns = [64, 128, 256], ThreadShares = [1 << 20, 1 << 18];

    private readonly Int8KernelSet _set;
    private readonly Dictionary<string, CpuVariant> _byName;

    public CpuTuningSpace(Int8KernelSet set)
    {
        _set = set;
        All = [.. from family in set.CpuFamilies
                  from tile in family.Variants
                  from rows in BlockRows(family)
                  from columns in BlockColumns
                  from share in ThreadShares
                  select new CpuVariant(family, new CpuSchedule(tile.Tile.M, rows, columns, share))];
        _byName = All.ToDictionary(static variant => variant.Name);
        Target = new TuningTarget(
            new TuningDevice(TuningDevice.Cpu, CpuIdentity.Name, CpuIdentity.Architecture, Environment.ProcessorCount),
            set.Name,
            TuningTarget.HashOf(set.Spec),
            TuningTarget.Hash(_byName.Keys),
            set.Generator,
            ElementFormat.Float32);
    }

    /// <summary>Every variant, of every instruction set.</summary>
    public IReadOnlyList<CpuVariant> All { get; }

    /// <summary>The kernels on this processor.</summary>
    public TuningTarget Target { get; }

    /// <summary>The version of the runtime, whose compiler the kernels' speed is owed to.</summary>
    public static string Runtime => $".NET {Environment.Version}";

    /// <summary>A variant by its name; null where there is none.</summary>
    public CpuVariant? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>The variants that do different things for a shape, with why one need not be tried on this processor, or null. Of a family that cannot be tried, one.</summary>
    public IEnumerable<(CpuVariant Variant, string? Pruned)> For(int rows, int n, int k) => All
        .Where(variant => Effective(variant, rows, n, k) == variant.Schedule)
        .GroupBy(static variant => variant.Family)
        .SelectMany(family => PruneFamily(family.Key) is { } reason
            ? [(family.Last(), reason)]
            : family.Select(variant => (variant, Prune(variant, rows))));

    /// <summary>What the rules take first, and more.</summary>
    private static int[] BlockRows(CpuKernelFamily family)
    {
        int rows = CpuSchedule.Default(family, int.MaxValue).BlockRows;
        return [rows, 2 * rows, 4 * rows];
    }

    private string? PruneFamily(CpuKernelFamily family) =>
        !CpuFeatures.Supports(family.InstructionSet)
            ? $"needs {CpuFeatures.Describe(family.InstructionSet)}"
            : family.InstructionSet == CpuInstructionSet.Scalar && _set.Preferred.InstructionSet != CpuInstructionSet.Scalar
                ? "portable code, and this processor has vector instructions"
                : null;

    private static string? Prune(CpuVariant variant, int rows)
    {
        CpuKernelFamily family = variant.Family;
        CpuSchedule schedule = variant.Schedule;
        long blockBytes = (long)Math.Min(schedule.BlockRows, rows) * schedule.BlockColumns * sizeof(int);
        if (blockBytes > MostBlockBytes)
        {
            return $"a block's sums take {blockBytes} bytes, more than {MostBlockBytes}";
        }

        double best = family.Variants.Where(tile => tile.Tile.M <= rows).Max(static tile => Reuse(tile.Tile));
        CpuTile used = family.ByRows[schedule.TileRows - 1].Tile;
        return used.M <= rows && Reuse(used) < LeastReuse * best ? "a taller tile of the family uses each loaded value more than twice as often" : null;
    }

    /// <summary>Products per loaded value.</summary>
    private static double Reuse(CpuTile tile) => (double)tile.M * tile.N / (tile.M + tile.N);

    /// <summary>The least schedule that does the same for a shape.</summary>
    private static CpuSchedule Effective(CpuVariant variant, int rows, int n, int k)
    {
        CpuKernelFamily family = variant.Family;
        CpuSchedule schedule = variant.Schedule;
        int tileRows = Math.Min(schedule.TileRows, family.ByRows[Math.Min(rows, family.ByRows.Length) - 1].Tile.M);
        return schedule with
        {
            TileRows = tileRows,
            BlockRows = Math.Min(schedule.BlockRows, Least(BlockRows(family), rows)),
            BlockColumns = Math.Min(schedule.BlockColumns, Least(BlockColumns, n)),
            ProductsPerThread = ThreadShares.First(share => Degree(share, rows, n, k) == Degree(schedule.ProductsPerThread, rows, n, k)),
        };
    }

    private static int Least(int[] sizes, int needed) => sizes.FirstOrDefault(size => size >= needed, sizes[^1]);

    private static int Degree(int share, int rows, int n, int k) =>
        (int)Math.Clamp((long)rows * n * k / share, 1, Environment.ProcessorCount);
}
