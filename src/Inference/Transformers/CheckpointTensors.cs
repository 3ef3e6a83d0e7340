using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Quantization;

namespace KernelGen.Inference.Transformers;

/// <summary>Finds a description's tensors in a checkpoint, checks their shapes and makes the model's parts of them.</summary>
internal sealed class CheckpointTensors
{
    private readonly Checkpoint _checkpoint;
    private readonly string _prefix;

    public CheckpointTensors(Checkpoint checkpoint, DecoderDescription description)
    {
        _checkpoint = checkpoint;
        _prefix = PrefixOf(checkpoint, description);
    }

    /// <summary>What this checkpoint puts before the names of the decoder's tensors.</summary>
    public static string PrefixOf(Checkpoint checkpoint, DecoderDescription description) =>
        // Without a match the first prefix is taken, so that the error names a tensor as the family writes it.
        description.TensorPrefixes.FirstOrDefault(prefix => checkpoint.Contains(prefix + description.TokenEmbedding.Name))
            ?? description.TensorPrefixes[0];

    /// <summary>Checks all that a model is loaded from but the weights of its linear layers.</summary>
    /// <exception cref="CheckpointException">A tensor is missing, or of another shape than the description says.</exception>
    public void RequireAllButLinearWeights(DecoderDescription description)
    {
        Require(description.TokenEmbedding);
        if (description.Positions is LearnedPositions positions)
        {
            Require(positions.Table);
        }

        NormDescription?[] norms = [description.EmbeddingNorm, .. description.Layers.SelectMany(static layer => new[] { layer.AttentionNorm, layer.MlpNorm }), description.FinalNorm];
        foreach (NormDescription norm in norms.OfType<NormDescription>())
        {
            Norm(norm);
        }

        foreach (LinearDescription layer in description.LinearLayers.Where(static layer => layer.HasBias))
        {
            _checkpoint.ReadSingles(_prefix + layer.Name + ".bias", layer.OutputFeatures);
        }

        if (description.OutputEmbedding is { } output)
        {
            Matrix(output, description.VocabularySize, description.TokenEmbedding.Size);
        }

        void Require(EmbeddingDescription table) => Matrix(_prefix + table.Name, table.Rows, table.Size);
    }

    public EmbeddingTable Embedding(EmbeddingDescription description) =>
        new(WeightTensor.Pack(Matrix(_prefix + description.Name, description.Rows, description.Size)));

    public EmbeddingTable OutputEmbedding(string name, int vocabulary, int size) => new(WeightTensor.Pack(Matrix(name, vocabulary, size)));

    public Norm Norm(NormDescription description)
    {
        string name = _prefix + description.Name;
        float[]? weight = description.IsAffine ? _checkpoint.ReadSingles(name + ".weight", description.Size) : null;
        float[]? bias = description.HasBias ? _checkpoint.ReadSingles(name + ".bias", description.Size) : null;
        return new Norm(description, weight, bias);
    }

    public LinearLayer Linear(LinearDescription description, LinearLayerFactory factory)
    {
        string name = _prefix + description.Name;
        bool isInt8 = _checkpoint.Get(name + Int8TensorNames.Weight).Info.Type == TensorType.I8;

        // int8 weights are stored a row per output feature by every family: bitsandbytes quantizes them so.
        bool isTransposed = description.IsTransposed && !isInt8;
        MappedTensor weight = isTransposed
            ? Matrix(name + Int8TensorNames.Weight, description.InputFeatures, description.OutputFeatures)
            : Matrix(name + Int8TensorNames.Weight, description.OutputFeatures, description.InputFeatures);
        float[]? bias = description.HasBias ? _checkpoint.ReadSingles(name + ".bias", description.OutputFeatures) : null;
        LinearLayer layer = factory(new LinearLayerSource(name, description.OutputFeatures, description.InputFeatures, weight, bias)
        {
            Int8 = isInt8 ? StoredInt8.Read(_checkpoint, name, description.OutputFeatures, description.InputFeatures) : null,
            IsTransposed = isTransposed,
        });
        return layer.InputFeatures == description.InputFeatures && layer.OutputFeatures == description.OutputFeatures
            ? layer
            : throw new InvalidOperationException(
                $"The factory's layer for {name} is [{layer.OutputFeatures},{layer.InputFeatures}], "
                + $"not [{description.OutputFeatures},{description.InputFeatures}].");
    }

    private MappedTensor Matrix(string name, int rows, int columns)
    {
        MappedTensor tensor = _checkpoint.Get(name);
        TensorInfo info = tensor.Info;
        return info.Shape.AsSpan().SequenceEqual([rows, columns])
            ? tensor
            : throw CheckpointException.For(
                info.File, name, $"its shape is {info.ShapeText}, [{rows}, {columns}] was expected.", "Check that config.json belongs to this checkpoint.");
    }
}
