namespace KernelGen.MatMul;

/// <summary>
/// The activations that left the int8 part, by row. Every row has a list of (slot, value) in ascending order of the columns; a slot is an
/// index into <see cref="Columns"/>, the columns that any row needs.
/// </summary>
internal sealed class RowOutliers
{
    /// <summary>No outliers at all.</summary>
    public static RowOutliers None { get; } = new([], 0);

    private readonly int[] _slots;

    private readonly float[] _values;

    /// <summary>Per row the start of its list in <see cref="_values"/>, and the end of the last.</summary>
    private readonly int[] _starts;

    private readonly bool _everyRowHasEveryColumn;

    /// <summary>Whole columns: every row's list is all the columns.</summary>
    public RowOutliers(int[] columns, int rows)
    {
        Columns = columns;
        _everyRowHasEveryColumn = true;
        _slots = [.. Enumerable.Range(0, columns.Length)];
        _values = new float[checked(rows * columns.Length)];
        _starts = [];
    }

    /// <summary>Single elements: a list per row.</summary>
    /// <param name="starts">Per row the start of its list, and the end of the last; rows + 1 values.</param>
    /// <param name="elementColumns">The columns, ascending within a row.</param>
    /// <param name="values">The values.</param>
    /// <param name="k">K.</param>
    public RowOutliers(int[] starts, int[] elementColumns, float[] values, int k)
    {
        bool[] present = new bool[k];
        foreach (int column in elementColumns)
        {
            present[column] = true;
        }

        int[] slotOfColumn = new int[k];
        List<int> columns = [];
        for (int column = 0; column < k; column++)
        {
            if (present[column])
            {
                slotOfColumn[column] = columns.Count;
                columns.Add(column);
            }
        }

        Columns = [.. columns];
        _slots = Array.ConvertAll(elementColumns, column => slotOfColumn[column]);
        _values = values;
        _starts = starts;
    }

    /// <summary>The columns that any row needs, ascending.</summary>
    public int[] Columns { get; }

    /// <summary>The values of a row when whole columns left, in the order of <see cref="Columns"/>.</summary>
    public Span<float> ValuesOf(int row) => _values.AsSpan(row * Columns.Length, Columns.Length);

    /// <summary>A row's list.</summary>
    public (ReadOnlyMemory<int> Slots, ReadOnlyMemory<float> Values) ListOf(int row) => _everyRowHasEveryColumn
        ? (_slots, _values.AsMemory(row * Columns.Length, Columns.Length))
        : (_slots.AsMemory(_starts[row].._starts[row + 1]), _values.AsMemory(_starts[row].._starts[row + 1]));
}
