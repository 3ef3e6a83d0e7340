namespace KernelGen.MatMul;

/// <summary>
/// The activations that left the int8 part, by row: the values of whole columns, or lists of (slot, value) in ascending order of the columns; a
/// slot is an index into <see cref="Columns"/>, the columns that any row needs.
/// </summary>
internal sealed class RowOutliers
{
    /// <summary>Whole columns: every row has a value of each.</summary>
    /// <param name="columns">The columns, ascending.</param>
    /// <param name="rows">M.</param>
    public RowOutliers(int[] columns, int rows)
    {
        Columns = columns;
        Starts = new int[rows + 1];
        Slots = [];
        Values = new float[checked(rows * columns.Length)];
        for (int m = 0; m < rows && columns.Length > 0; m++)
        {
            Starts[m + 1] = Starts[m] + columns.Length;
        }
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
        Slots = Array.ConvertAll(elementColumns, column => slotOfColumn[column]);
        Values = values;
        Starts = starts;
    }

    /// <summary>The columns that any row needs, ascending.</summary>
    public int[] Columns { get; }

    /// <summary>Per row the start of its values, and the end of the last.</summary>
    public int[] Starts { get; }

    /// <summary>The slots of all rows; none where whole columns left.</summary>
    public int[] Slots { get; }

    /// <summary>The values of all rows.</summary>
    public float[] Values { get; }

    /// <summary>The values of one row.</summary>
    public Span<float> ValuesOf(int row) => Values.AsSpan(Starts[row]..Starts[row + 1]);
}
