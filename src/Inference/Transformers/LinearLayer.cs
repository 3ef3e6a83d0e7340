using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Quantization;

namespace KernelGen.Inference.Transformers;

/// <summary>
/// A linear layer <c>y = x * weight^T + bias</c> on float32 activations; how the weights are stored and multiplied is the subclass's
/// matter.
/// </summary>
/// <remarks>
/// A layer is immutable: several threads may use it at once, and any may dispose it. A pass that runs then ends undisturbed; one that begins later
/// throws an <see cref="ObjectDisposedException"/>.
/// </remarks>
public abstract class LinearLayer : IDisposable
{
    /// <summary>Remembers the sizes.</summary>
    /// <param name="inputFeatures">K.</param>
    /// <param name="outputFeatures">N.</param>
    protected LinearLayer(int inputFeatures, int outputFeatures)
    {
        InputFeatures = inputFeatures;
        OutputFeatures = outputFeatures;
    }

    /// <summary>K, the width of an input row.</summary>
    public int InputFeatures { get; }

    /// <summary>N, the width of an output row.</summary>
    public int OutputFeatures { get; }

    /// <summary>Bytes that the weights, scales and bias take in memory.</summary>
    public abstract long Bytes { get; }

    /// <summary>Multiplies.</summary>
    /// <param name="input">Activations [<paramref name="rows"/>, <see cref="InputFeatures"/>], row by row.</param>
    /// <param name="rows">M: all tokens of all sequences at once, since some schemes take statistics over them.</param>
    /// <param name="output">Result [<paramref name="rows"/>, <see cref="OutputFeatures"/>]; must not overlap the input.</param>
    /// <exception cref="ArgumentException">A length does not fit the sizes.</exception>
    public abstract void Forward(ReadOnlySpan<float> input, int rows, Span<float> output);

    /// <summary>Frees the weights; the layer must not be used any more.</summary>
    public abstract void Dispose();
}

/// <summary>What a linear layer is made from.</summary>
/// <param name="Name">The layer's name in the checkpoint, for messages.</param>
/// <param name="OutputFeatures">N.</param>
/// <param name="InputFeatures">K.</param>
/// <param name="Weight">
/// The weights as the checkpoint stores them (float32, float16, bfloat16, or int8 with <see cref="Int8"/>), [N,K] or, if
/// <see cref="IsTransposed"/>, [K,N]; readable until the model that the layer belongs to is disposed.
/// </param>
/// <param name="Bias">The bias [N], or null.</param>
public sealed record LinearLayerSource(string Name, int OutputFeatures, int InputFeatures, MappedTensor Weight, float[]? Bias)
{
    /// <summary>What belongs to int8 weights; null where the weights are in floating point.</summary>
    public StoredInt8? Int8 { get; init; }

    /// <summary>Whether the weights are stored as [K,N], as transformers' <c>Conv1D</c> stores them.</summary>
    public bool IsTransposed { get; init; }
}

/// <summary>Makes a decoder's linear layers: the place where a quantization scheme enters a model.</summary>
/// <param name="source">Name, sizes, weights and bias.</param>
/// <returns>A layer of the same sizes.</returns>
public delegate LinearLayer LinearLayerFactory(LinearLayerSource source);
