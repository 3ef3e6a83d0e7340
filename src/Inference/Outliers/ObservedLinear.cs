using System.Buffers;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Outliers;

/// <summary>A linear layer that shows its input and can be made blind to some of its columns. Models that nobody analyses have none of these.</summary>
internal sealed class ObservedLinear(LinearLayer inner, string name) : LinearLayer(inner.InputFeatures, inner.OutputFeatures)
{
    /// <summary>The layer's full name in the checkpoint.</summary>
    public string Name { get; } = name;

    /// <summary>Counts the rows of the input; null for nothing.</summary>
    public ColumnStatistics? Statistics { get; set; }

    /// <summary>The columns of the input that the layer reads as zero.</summary>
    public IReadOnlyList<int> ZeroedColumns { get; set; } = [];

    public override long Bytes => inner.Bytes;

    public override void Forward(ReadOnlySpan<float> input, int rows, Span<float> output)
    {
        Statistics?.Add(input);
        if (ZeroedColumns.Count == 0)
        {
            inner.Forward(input, rows, output);
            return;
        }

        float[] rented = ArrayPool<float>.Shared.Rent(input.Length);
        Span<float> blinded = rented.AsSpan(0, input.Length);
        input.CopyTo(blinded);
        for (int row = 0; row < rows; row++)
        {
            foreach (int column in ZeroedColumns)
            {
                blinded[(row * InputFeatures) + column] = 0;
            }
        }

        inner.Forward(blinded, rows, output);
        ArrayPool<float>.Shared.Return(rented);
    }

    public override void Dispose() => inner.Dispose();
}
