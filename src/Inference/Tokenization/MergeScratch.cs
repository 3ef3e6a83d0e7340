namespace KernelGen.Inference.Tokenization;

/// <summary>Working memory for merging, kept from word to word within one call of the encoder. The arrays only grow; contents are arbitrary.</summary>
internal sealed class MergeScratch
{
    private int[] _previous = [];
    private int[] _next = [];
    private int[] _symbols = [];
    private byte[] _bytes = [];
    private char[] _characters = [];

    /// <summary>The pairs that wait to be merged, by rank and then by place.</summary>
    public PriorityQueue<MergeCandidate, long> Queue { get; } = new();

    /// <summary>Room for the places before each of a number of symbols.</summary>
    public Span<int> Previous(int count) => Room(ref _previous, count);

    /// <summary>Room for the places after each of a number of symbols.</summary>
    public Span<int> Next(int count) => Room(ref _next, count);

    /// <summary>Room for a number of symbols.</summary>
    public Span<int> Symbols(int count) => Room(ref _symbols, count);

    /// <summary>Room for a word's UTF-8 bytes.</summary>
    public Span<byte> Bytes(int count) => Room(ref _bytes, count);

    /// <summary>Room for a word in the alphabet of its vocabulary.</summary>
    public Span<char> Characters(int count) => Room(ref _characters, count);

    private static Span<T> Room<T>(ref T[] array, int count)
    {
        if (array.Length < count)
        {
            array = new T[Math.Max(count, Math.Min(2L * array.Length, Array.MaxLength))];
        }

        return array.AsSpan(0, count);
    }
}
