using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>Writes prompts, one after the other, into a pass's inputs, and the tiles that their attention is computed by.</summary>
internal ref struct PromptTiles(DecoderInputs inputs)
{
    private readonly DecoderInputs _inputs = inputs;
    private int _rows;
    private int _tiles;

    /// <summary>Adds a part of a sequence's prompt.</summary>
    public void Add(int slot, ReadOnlySpan<int> tokens, int position)
    {
        for (int first = 0; first < tokens.Length; first += DecoderRow.TileQueries)
        {
            int count = Math.Min(DecoderRow.TileQueries, tokens.Length - first);
            _inputs.HostTiles[_tiles++] = new CudaAttentionTile((uint)_rows, (uint)count, (uint)slot, (uint)(position + first));
            for (int i = first; i < first + count; i++, _rows++)
            {
                _inputs.HostTokens[_rows] = (uint)tokens[i];
                _inputs.HostPositions[_rows] = (uint)(position + i);
                _inputs.HostSequences[_rows] = (uint)slot;
            }
        }
    }

    /// <summary>Puts the tiles with the longest contexts first, so that none is left over when all others are done.</summary>
    /// <returns>How many there are.</returns>
    public readonly int Finish()
    {
        Span<CudaAttentionTile> tiles = _inputs.HostTiles[.._tiles];
        tiles.Sort(static (a, b) => b.FirstPosition.CompareTo(a.FirstPosition));
        return _tiles;
    }
}
