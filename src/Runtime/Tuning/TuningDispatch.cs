namespace KernelGen.Tuning;

/// <summary>The table of one set of kernels on one device, made anew when the records have changed.</summary>
/// <param name="build">Makes the table of the records.</param>
internal sealed class TuningDispatch<T>(Func<TuningRecords, ShapeTable<T>> build)
    where T : class
{
    private volatile State? _state;

    /// <summary>What to take for a shape; null where nothing near was tuned. Neither locks nor allocates, but for the first call after a change.</summary>
    public T? Find(int rows, int n, int k) => Table.Find(rows, n, k);

    /// <summary>The table of the present records.</summary>
    public ShapeTable<T> Table
    {
        get
        {
            TuningRecords records = KernelTuning.Records;
            State? state = _state;
            return state is not null && ReferenceEquals(state.Records, records) ? state.Table : Build(records);
        }
    }

    private ShapeTable<T> Build(TuningRecords records)
    {
        // Two threads may both build it: either's is right.
        State state = new(records, build(records));
        _state = state;
        return state.Table;
    }

    private sealed record State(TuningRecords Records, ShapeTable<T> Table);
}

/// <summary>Records that do not change: a change makes another one.</summary>
internal sealed class TuningRecords(IReadOnlyList<TuningRecord> all)
{
    /// <summary>One a key.</summary>
    public IReadOnlyList<TuningRecord> All => all;

    /// <summary>The entries for a set of kernels on a device.</summary>
    /// <param name="target">The kernels.</param>
    /// <param name="driver">The driver's version.</param>
    /// <param name="runtime">The runtime's version.</param>
    /// <param name="choose">What a record says; null where that is nothing that there is today.</param>
    public IEnumerable<ShapeEntry<T>> EntriesFor<T>(TuningTarget target, string driver, string runtime, Func<TuningRecord, T?> choose)
        where T : class =>
        from record in all
        let key = record.Key
        where key.Target.Device == target.Device && key.Target.SpecHash == target.SpecHash
        let choice = choose(record)
        where choice is not null
        orderby record.MeasuredAt descending
        select new ShapeEntry<T>(
            new ShapeKey(key.Bucket, key.N, key.K), !(key.Target.Matches(target) && key.Driver == driver && key.Runtime == runtime), choice);
}
