namespace KernelGen.Inference.Transformers;

/// <summary>One decoder layer: weights, and the order of the operations on the residual stream.</summary>
internal sealed class DecoderLayer : IDisposable
{
    public required DecoderLayerDescription Description { get; init; }

    public required LayerNorm AttentionNorm { get; init; }

    public required LinearLayer Query { get; init; }

    public required LinearLayer Key { get; init; }

    public required LinearLayer Value { get; init; }

    public required LinearLayer Output { get; init; }

    public required LayerNorm MlpNorm { get; init; }

    public required LinearLayer Up { get; init; }

    public required LinearLayer Down { get; init; }

    public long Bytes =>
        AttentionNorm.Bytes + Query.Bytes + Key.Bytes + Value.Bytes + Output.Bytes + MlpNorm.Bytes + Up.Bytes + Down.Bytes;

    public void Dispose()
    {
        foreach (LinearLayer linear in new[] { Query, Key, Value, Output, Up, Down })
        {
            linear.Dispose();
        }
    }

    /// <summary>Runs the layer on <see cref="DecoderPass.Hidden"/>, in place.</summary>
    public void Forward(DecoderPass pass, int layer)
    {
        bool before = Description.NormPlacement == NormPlacement.Pre;

        // Attention.
        float[] input = before ? pass.Normalize(AttentionNorm, pass.Hidden, pass.Normed) : pass.Hidden;
        pass.Apply(Query, input, pass.Query);
        pass.Apply(Key, input, pass.Key);
        pass.Apply(Value, input, pass.Value);
        pass.Attend(layer, pass.Query, pass.Key, pass.Value, pass.Normed);
        pass.Apply(Output, pass.Normed, pass.Query);
        pass.AddToHidden(pass.Query, before ? null : AttentionNorm);

        // MLP.
        input = before ? pass.Normalize(MlpNorm, pass.Hidden, pass.Normed) : pass.Hidden;
        pass.Apply(Up, input, pass.Inner);
        pass.Activate(Description.Activation, pass.Inner);
        pass.Apply(Down, pass.Inner, pass.Query);
        pass.AddToHidden(pass.Query, before ? null : MlpNorm);
    }
}
