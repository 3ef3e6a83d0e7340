using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Checkpoints;

/// <summary>What is in a checkpoint, from its headers and config alone: no value is read, so it takes no time and memory to speak of.</summary>
public sealed record CheckpointReport
{
    private const int BytesPerScale = sizeof(float);
    private const int SixteenBits = 2;

    private CheckpointReport()
    {
    }

    /// <summary>The folder or file as it was given.</summary>
    public required string Path { get; init; }

    /// <summary>Safetensors files that hold the tensors.</summary>
    public required int Files { get; init; }

    /// <summary>What there is of each element type, the most bytes first.</summary>
    public required IReadOnlyList<TensorTypeShare> Types { get; init; }

    /// <summary>What the model is made of, or null where it cannot be built here: see <see cref="NotSupported"/>.</summary>
    public required DecoderDescription? Model { get; init; }

    /// <summary>Why the model cannot be built, a whole message; null where it can.</summary>
    public required string? NotSupported { get; init; }

    /// <summary>Tensors that the config asks for and the checkpoint lacks; empty in a complete one and where there is no <see cref="Model"/>.</summary>
    public required IReadOnlyList<string> Missing { get; init; }

    /// <summary>Elements of all tensors but the statistics of weights that are int8 already.</summary>
    public required long Parameters { get; init; }

    /// <summary>The linear layers that quantizing turns to int8, those that are int8 already among them; empty without a <see cref="Model"/>.</summary>
    public required IReadOnlyList<LinearDescription> LinearLayers { get; init; }

    /// <summary>How many of <see cref="LinearLayers"/> are int8 already.</summary>
    public required int QuantizedLayers { get; init; }

    /// <summary>Weights of the <see cref="LinearLayers"/>, without biases.</summary>
    public long LinearParameters => LinearLayers.Sum(static linear => (long)linear.InputFeatures * linear.OutputFeatures);

    /// <summary>Bytes of all parameters in 16 bits.</summary>
    public long SixteenBitBytes => SixteenBits * Parameters;

    /// <summary>Bytes with the linear layers in int8: their weights, one float32 scale per output feature, and the rest in 16 bits.</summary>
    public long Int8Bytes =>
        LinearParameters + (BytesPerScale * LinearLayers.Sum(static linear => (long)linear.OutputFeatures)) + (SixteenBits * (Parameters - LinearParameters));

    /// <summary>Bytes of float32 keys and values for a sequence as long as the model's context; 0 without a <see cref="Model"/>.</summary>
    public long CacheBytes => Model is null
        ? 0
        : 2L * sizeof(float) * Model.Layers.Count * Model.KeyValueHeads * Model.HeadSize * Model.ContextLength;

    /// <summary>Looks into a checkpoint.</summary>
    /// <param name="path">A folder in Hugging Face layout.</param>
    /// <returns>What is in it, also where the model's family is not supported.</returns>
    /// <exception cref="CheckpointException">The safetensors files are missing, damaged, or in a format that is refused.</exception>
    public static CheckpointReport Read(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        using Checkpoint checkpoint = Checkpoint.Open(path);
        TensorInfo[] tensors = [.. checkpoint.Tensors.Values];
        (DecoderDescription? model, string? notSupported) = Describe(path);
        string prefix = model is null ? "" : CheckpointTensors.PrefixOf(checkpoint, model);
        LinearDescription[] linear = model is null ? [] : [.. model.LinearLayers];
        return new CheckpointReport
        {
            Path = path,
            Files = tensors.Select(static tensor => tensor.File).Distinct(StringComparer.Ordinal).Count(),
            Types =
            [
                .. tensors.GroupBy(static tensor => tensor.Type)
                    .Select(static group => new TensorTypeShare(
                        group.Key, group.Key.HeaderName(), group.Count(), group.Sum(static t => t.ElementCount), group.Sum(static t => t.ByteLength)))
                    .OrderByDescending(static share => share.Bytes),
            ],
            Model = model,
            NotSupported = notSupported,
            Missing = model is null ? [] : [.. TensorNames(model, prefix).Where(name => !checkpoint.Contains(name))],
            Parameters = tensors.Where(static tensor => !IsStatistic(tensor.Name)).Sum(static tensor => tensor.ElementCount),
            LinearLayers = linear,
            QuantizedLayers = linear.Count(layer =>
                checkpoint.Tensors.TryGetValue($"{prefix}{layer.Name}.weight", out TensorInfo? weight) && weight.Type == TensorType.I8),
        };
    }

    /// <summary>What bitsandbytes stores beside int8 weights.</summary>
    private static bool IsStatistic(string name) =>
        name.EndsWith(".SCB", StringComparison.Ordinal) || name.EndsWith(".weight_format", StringComparison.Ordinal);

    private static (DecoderDescription? Model, string? NotSupported) Describe(string path)
    {
        try
        {
            return (ModelFamilies.Describe(ConfigReader.Open(path)), null);
        }
        catch (CheckpointException exception)
        {
            return (null, exception.Message);
        }
    }

    private static IEnumerable<string> TensorNames(DecoderDescription model, string prefix)
    {
        IEnumerable<string> names =
        [
            model.TokenEmbedding.Name,
            .. model.Positions is LearnedPositions learned ? [learned.Table.Name] : (string[])[],
            .. Norm(model.EmbeddingNorm),
            .. Linear(model.ProjectIn),
            .. model.Layers.SelectMany(layer => (IEnumerable<string>)
                [.. Norm(layer.AttentionNorm), .. Norm(layer.MlpNorm), .. layer.LinearLayers.SelectMany(Linear)]),
            .. Norm(model.FinalNorm),
            .. Linear(model.ProjectOut),
        ];
        return [.. names.Select(name => prefix + name), .. model.OutputEmbedding is string output ? [output] : (string[])[]];

        static IEnumerable<string> Norm(NormDescription? norm) =>
            norm is null || !norm.IsAffine ? [] : norm.HasBias ? [norm.Name + ".weight", norm.Name + ".bias"] : [norm.Name + ".weight"];

        static IEnumerable<string> Linear(LinearDescription? linear) =>
            linear is null ? [] : linear.HasBias ? [linear.Name + ".weight", linear.Name + ".bias"] : [linear.Name + ".weight"];
    }
}

/// <summary>What a checkpoint has of one element type.</summary>
/// <param name="Type">The type.</param>
/// <param name="Name">Its name in safetensors headers, such as <c>F16</c>.</param>
/// <param name="Tensors">Number of tensors.</param>
/// <param name="Elements">Their elements.</param>
/// <param name="Bytes">Their bytes.</param>
public sealed record TensorTypeShare(TensorType Type, string Name, int Tensors, long Elements, long Bytes);
