using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using KernelGen.Kernels;

namespace KernelGen.Quantization;

/// <summary>
/// What packing took from a slice's weights so that no pair of neighbours exceeds the limit of an instruction that sums two products in 16
/// bits. The product with what was taken is added afterwards: the sum is exact.
/// </summary>
/// <remarks>
/// One block of memory, panel after panel as they are multiplied: the lengths of the lists of a panel's weight rows, the longest first, so that a loop over one
/// mostly is as long as the one before, then whose they are, a byte each, then what they list.
/// </remarks>
internal sealed unsafe class PairCorrections
{
    private readonly Entry[] _memory;

    /// <summary>Where a panel begins, and the end of the last.</summary>
    private readonly int[] _starts;

    private readonly int _width;

    /// <summary>Puts together what was taken from all panels.</summary>
    /// <param name="panels">What was taken from each.</param>
    /// <param name="width">NR, weight rows of a panel.</param>
    public PairCorrections(PairReduction[] panels, int width)
    {
        _width = width;
        Count = panels.Sum(static panel => (long)panel.Count);
        _starts = new int[panels.Length + 1];
        int listEntries = ListEntries;
        for (int panel = 0; panel < panels.Length; panel++)
        {
            int entries = 0;
            for (int lane = 0; lane < panels[panel].Rows; lane++)
            {
                entries += panels[panel].Entries(lane).Length;
            }

            _starts[panel + 1] = checked(_starts[panel] + listEntries + entries);
        }

        _memory = GC.AllocateArray<Entry>(_starts[^1], pinned: true);
        for (int panel = 0; panel < panels.Length; panel++)
        {
            PairReduction reduction = panels[panel];
            Span<Entry> header = _memory.AsSpan(_starts[panel], listEntries);
            Span<ushort> counts = MemoryMarshal.Cast<Entry, ushort>(header)[..width];
            Span<byte> lanes = MemoryMarshal.AsBytes(header).Slice(width * sizeof(ushort), width);
            int at = _starts[panel] + listEntries, next = 0;
            foreach (int lane in Enumerable.Range(0, width).OrderByDescending(lane => reduction.Entries(lane).Length))
            {
                ReadOnlySpan<Entry> entries = reduction.Entries(lane);
                (counts[next], lanes[next++]) = (checked((ushort)entries.Length), (byte)lane);
                entries.CopyTo(_memory.AsSpan(at));
                at += entries.Length;
            }
        }
    }

    private PairCorrections(PairCorrections other)
    {
        (_width, Count, _starts) = (other._width, other.Count, [.. other._starts]);
        _memory = GC.AllocateUninitializedArray<Entry>(other._memory.Length, pinned: true);
        other._memory.CopyTo(_memory, 0);
    }

    /// <summary>NR, weight rows of a panel.</summary>
    public int Width => _width;

    /// <summary>How many weights were reduced.</summary>
    public long Count { get; }

    /// <summary>Bytes in memory.</summary>
    public long Bytes => ((long)_memory.Length * sizeof(Entry)) + ((long)_starts.Length * sizeof(int));

    private int ListEntries => ((_width * (sizeof(ushort) + sizeof(byte))) + sizeof(Entry) - 1) / sizeof(Entry);

    /// <summary>The same elsewhere in memory.</summary>
    public PairCorrections Copy() => new(this);

    /// <summary>The lists of a panel's weight rows. Valid as long as this object is referred to.</summary>
    public PanelLists Panel(int panel)
    {
        Entry* first = (Entry*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_memory)) + _starts[panel];
        return new PanelLists((ushort*)first, (byte*)((ushort*)first + _width), first + ListEntries);
    }

    /// <summary>Asks for a panel's part, which is needed when the panel is multiplied.</summary>
    public void Prefetch(int panel) => CpuVectors.Prefetch(ref _memory[_starts[panel]], _starts[panel + 1] - _starts[panel]);

    /// <summary>
    /// Adds the products of one row of activations with what was taken from a panel. Few rows make no vectors: each reads its values where the
    /// panel's product has just read them.
    /// </summary>
    /// <param name="panel">The panel.</param>
    /// <param name="activations">The row from the slice's first column on, each value plus 128.</param>
    /// <param name="sums">The panel's sums of the row.</param>
    public void AddProducts(int panel, byte* activations, int* sums)
    {
        PanelLists lists = Panel(panel);
        Entry* entry = lists.Entries;
        for (int list = 0; list < _width && lists.Counts[list] > 0; list++)
        {
            byte* at = activations;
            int sum = 0;
            for (int i = lists.Counts[list]; i > 0; i--, entry++)
            {
                at += entry->Gap0;
                sum += *at * entry->Delta0;
                at += entry->Gap1;
                sum += *at * entry->Delta1;
                at += entry->Gap2;
                sum += *at * entry->Delta2;
                at += entry->Gap3;
                sum += *at * entry->Delta3;
            }

            sums[lists.Lanes[list]] += sum;
        }

        GC.KeepAlive(this);
    }

    /// <summary>Gives back to a weight row what was taken from it.</summary>
    /// <param name="panel">The panel.</param>
    /// <param name="lane">The weight row's index in it.</param>
    /// <param name="row">Its reduced weights.</param>
    public void Restore(int panel, int lane, Span<sbyte> row)
    {
        int column = 0;
        foreach (Entry entry in List(panel, lane))
        {
            for (int i = 0; i < Entry.Weights; i++)
            {
                row[column += entry.Gap(i)] += entry.Delta(i);
            }
        }
    }

    /// <summary>What was taken from one weight.</summary>
    public int this[int panel, int lane, int column]
    {
        get
        {
            int at = 0, taken = 0;
            foreach (Entry entry in List(panel, lane))
            {
                for (int i = 0; i < Entry.Weights; i++)
                {
                    taken += (at += entry.Gap(i)) == column ? entry.Delta(i) : 0;
                }

                if (at > column)
                {
                    break;
                }
            }

            return taken;
        }
    }

    private ReadOnlySpan<Entry> List(int panel, int lane)
    {
        PanelLists lists = Panel(panel);
        int first = _starts[panel] + ListEntries, list = 0;
        for (; lists.Lanes[list] != lane; list++)
        {
            first += lists.Counts[list];
        }

        int count = lists.Counts[list];
        GC.KeepAlive(this);
        return _memory.AsSpan(first, count);
    }

    /// <summary>A panel's lists, one per weight row, the longest first: how many entries each has, the weight row's index in the panel, the entries of all.</summary>
    public readonly struct PanelLists(ushort* counts, byte* lanes, Entry* entries)
    {
        public readonly ushort* Counts = counts;

        public readonly byte* Lanes = lanes;

        public readonly Entry* Entries = entries;
    }

    /// <summary>
    /// Four weights of a row in eight bytes: how many columns each is behind the one before, from column 0, and what was taken from it. Where columns are
    /// further apart than a byte tells, or two neighbours together exceed the limit again, nothing is taken from one between them.
    /// </summary>
    public readonly record struct Entry(byte Gap0, byte Gap1, byte Gap2, byte Gap3, sbyte Delta0, sbyte Delta1, sbyte Delta2, sbyte Delta3)
    {
        /// <summary>Weights of an entry.</summary>
        public const int Weights = 4;

        /// <summary>Columns from the weight before to this one.</summary>
        public int Gap(int weight) => weight switch { 0 => Gap0, 1 => Gap1, 2 => Gap2, _ => Gap3 };

        /// <summary>What was taken from a weight.</summary>
        public sbyte Delta(int weight) => weight switch { 0 => Delta0, 1 => Delta1, 2 => Delta2, _ => Delta3 };
    }
}
