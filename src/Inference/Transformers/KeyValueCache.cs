using KernelGen.Memory;
using KernelGen.Backends.Cpu;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// The keys and values of one sequence, in float32, for every layer: what attention needs of the tokens that went before. Made by
/// <see cref="TransformerModel.CreateCache(int)"/>, filled by
/// <see cref="TransformerModel.Forward(ReadOnlySpan{int}, KeyValueCache[])"/>; not for several threads at once: a second one is refused.
/// </summary>
public sealed class KeyValueCache
{
    private readonly KeyValueStore[] _stores;
    private int _inUse;

    /// <param name="owner">The only one that may fill it.</param>
    /// <param name="description">The owner's layers.</param>
    /// <param name="capacity">Most tokens.</param>
    /// <param name="keepsLayers">As <see cref="KeepsLayers"/>.</param>
    internal KeyValueCache(object owner, DecoderDescription description, int capacity, bool keepsLayers)
    {
        Owner = owner;
        Capacity = capacity;
        KeepsLayers = keepsLayers || description.Layers.Count == 1;
        _stores = new KeyValueStore[keepsLayers ? description.Layers.Count : 1];
        for (int i = 0; i < _stores.Length; i++)
        {
            _stores[i] = new KeyValueStore(description.KeyValueHeads, description.HeadSize, capacity);
        }
    }

    /// <summary>Tokens that the cache holds.</summary>
    public int Length { get; private set; }

    /// <summary>Most tokens that it can hold.</summary>
    public int Capacity { get; }

    /// <summary>Bytes that the keys and values take, filled or not.</summary>
    public long Bytes => _stores.Sum(store => store.Bytes);

    /// <summary>
    /// Whether the sequence can be continued. A cache that keeps no layers serves one pass over a whole sequence in the memory of one
    /// layer: each layer writes over the one before.
    /// </summary>
    internal bool KeepsLayers { get; }

    internal object Owner { get; }

    /// <summary>Forgets all tokens; the memory stays.</summary>
    public void Clear() => Length = 0;

    /// <summary>Takes the cache for one pass.</summary>
    /// <returns>False where another pass has it.</returns>
    internal bool TryEnter() => Interlocked.Exchange(ref _inUse, 1) == 0;

    /// <summary>Ends one <see cref="TryEnter"/>.</summary>
    internal void Exit() => Volatile.Write(ref _inUse, 0);

    internal KeyValueStore Store(int layer) => _stores[_stores.Length == 1 ? 0 : layer];

    internal void Advance(int tokens) => Length += tokens;

    /// <summary>Forgets the tokens from a position on.</summary>
    internal void Rewind(int position)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(position, Length);
        Length = position;
    }
}

/// <summary>
/// One layer's keys and values of one sequence, laid out for <see cref="FloatMicrokernel"/>: both products of attention are matrix
/// products whose right side is the cache. Keys lie in panels of NR positions, [panel][head size][NR]; values in rows of one position,
/// filled up with zeros to a multiple of NR.
/// </summary>
internal sealed unsafe class KeyValueStore
{
    private readonly AlignedBuffer<float> _keys;
    private readonly AlignedBuffer<float> _values;
    private readonly long _keysPerHead;
    private readonly long _valuesPerHead;

    public KeyValueStore(int heads, int headSize, int capacity)
    {
        int positions = RoundUp(capacity);
        HeadSize = headSize;
        ValueWidth = RoundUp(headSize);
        _keysPerHead = (long)positions * headSize;
        _valuesPerHead = (long)capacity * ValueWidth;
        _keys = new AlignedBuffer<float>(heads * _keysPerHead);
        _values = new AlignedBuffer<float>(heads * _valuesPerHead);
    }

    /// <summary>NR: positions per panel of keys, and the granularity of <see cref="ValueWidth"/>.</summary>
    public static int PanelWidth => 2 * FloatMicrokernel.PreferredLanes;

    public int HeadSize { get; }

    /// <summary>Floats from one position's values to the next's.</summary>
    public int ValueWidth { get; }

    public long Bytes => _keys.Bytes + _values.Bytes;

    public static int RoundUp(int count) => checked(count + PanelWidth - 1) / PanelWidth * PanelWidth;

    /// <summary>The panels of one head's keys: [ceil(positions / NR)][head size][NR].</summary>
    public float* Keys(int head) => _keys.Pointer + (head * _keysPerHead);

    /// <summary>One head's values: [positions][ValueWidth].</summary>
    public float* Values(int head) => _values.Pointer + (head * _valuesPerHead);

    /// <summary>Writes one head's key and value of one position.</summary>
    public void Write(int head, int position, float* key, float* value)
    {
        int width = PanelWidth;
        float* keys = Keys(head) + ((long)(position / width) * width * HeadSize) + (position % width);
        float* values = Values(head) + ((long)position * ValueWidth);
        for (int i = 0; i < HeadSize; i++)
        {
            keys[(long)i * width] = key[i];
            values[i] = value[i];
        }
    }
}
