using System.Collections.Frozen;

namespace KernelGen.Tuning;

/// <summary>A shape as tuning distinguishes it.</summary>
/// <param name="Bucket">M, as a <see cref="RowBucket"/>.</param>
/// <param name="N">Output features.</param>
/// <param name="K">Input features.</param>
internal readonly record struct ShapeKey(int Bucket, int N, int K);

/// <summary>What was tuned, for one shape.</summary>
/// <param name="Shape">The shape.</param>
/// <param name="Stale">Whether it was measured with another driver, runtime or version of the kernels: then it is a hint, not a record.</param>
/// <param name="Choice">What to take.</param>
internal readonly record struct ShapeEntry<T>(ShapeKey Shape, bool Stale, T Choice);

/// <summary>
/// What tuning chose, by shape. Finding costs one look into a hash table: no lock, no allocation. A shape that was not tuned takes the nearest
/// entry within reach; that is computed when the shape comes up first, and remembered.
/// </summary>
/// <remarks>
/// The nearest entry is the one with the smallest |log2(N / N')| + |log2(K / K')| + |difference of the buckets of M| + 1 if it is stale, of
/// equally near ones the one of fewer rows, then of the smaller N and K; one that is out of reach says nothing.
/// </remarks>
internal sealed class ShapeTable<T>
    where T : class
{
    /// <summary>Three doublings.</summary>
    public const double UsualReach = 3;

    private readonly FrozenDictionary<ShapeKey, T> _tuned;
    private readonly ShapeEntry<T>[] _all;
    private readonly Action<ShapeKey>? _untuned;
    private readonly double _reach;

    /// <summary>Nearest entries; replaced, never changed, so that readers need no lock.</summary>
    private volatile Dictionary<ShapeKey, T?> _nearest = [];

    /// <param name="entries">Those of a shape in any number; the first that is not stale is the shape's own.</param>
    /// <param name="untuned">Told of each shape that has no entry of its own, the first time that it is looked for.</param>
    /// <param name="reach">How far an entry may be; 0 where a shape takes its own alone.</param>
    public ShapeTable(IEnumerable<ShapeEntry<T>> entries, Action<ShapeKey>? untuned = null, double reach = UsualReach)
    {
        _reach = reach;
        _all = [.. entries.OrderBy(static entry => entry.Shape.Bucket).ThenBy(static entry => entry.Shape.N).ThenBy(static entry => entry.Shape.K)];
        _tuned = _all.Where(static entry => !entry.Stale).DistinctBy(static entry => entry.Shape)
            .ToFrozenDictionary(static entry => entry.Shape, static entry => entry.Choice);
        _untuned = untuned;
    }

    /// <summary>What to take for a shape; null where nothing near was tuned.</summary>
    public T? Find(int rows, int n, int k)
    {
        ShapeKey shape = new(RowBucket.Of(rows), n, k);
        return _tuned.TryGetValue(shape, out T? choice) || _nearest.TryGetValue(shape, out choice) ? choice : Remember(shape);
    }

    /// <summary>Whether the shape has an entry of its own.</summary>
    public bool IsTuned(ShapeKey shape) => _tuned.ContainsKey(shape);

    /// <summary>The nearest entry within reach.</summary>
    public T? Nearest(ShapeKey shape)
    {
        (double least, T? nearest) = (_reach, null);
        foreach (ShapeEntry<T> entry in _all)
        {
            double distance = Math.Abs(Math.Log2((double)shape.N / entry.Shape.N)) + Math.Abs(Math.Log2((double)shape.K / entry.Shape.K))
                + Math.Abs(shape.Bucket - entry.Shape.Bucket) + (entry.Stale ? 1 : 0);
            if (distance < least || (distance == least && nearest is null))
            {
                (least, nearest) = (distance, entry.Choice);
            }
        }

        return nearest;
    }

    private T? Remember(ShapeKey shape)
    {
        T? nearest = Nearest(shape);
        Dictionary<ShapeKey, T?> before = _nearest;
        Dictionary<ShapeKey, T?> after = new(before) { [shape] = nearest };

        // Who loses a race computes it again another time.
        if (Interlocked.CompareExchange(ref _nearest, after, before) == before)
        {
            _untuned?.Invoke(shape);
        }

        return nearest;
    }
}
