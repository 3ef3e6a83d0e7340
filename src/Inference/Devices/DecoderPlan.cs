using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>Rows of a layer's weights that become rows of a matrix on the device, in the same order.</summary>
/// <param name="Source">The layer.</param>
/// <param name="SourceRow">The first output feature of the layer.</param>
/// <param name="TargetRow">The output feature of the matrix that it becomes.</param>
/// <param name="Rows">How many there are.</param>
internal readonly record struct RowRun(LinearDescription Source, int SourceRow, int TargetRow, int Rows);

/// <summary>
/// A matrix of weights as the device multiplies by it. Layers that read the same input are one matrix, since every output feature has its own scale:
/// the result is that of the layers apart, bit for bit, and the input is quantized once.
/// </summary>
/// <param name="Name">The layers' names, for messages.</param>
/// <param name="InputFeatures">K.</param>
/// <param name="OutputFeatures">N.</param>
/// <param name="Runs">Where its rows come from; together they are all of them.</param>
/// <param name="HasBias">Whether one of the layers has a bias; the others' is zero.</param>
internal sealed record MatrixPlan(string Name, int InputFeatures, int OutputFeatures, IReadOnlyList<RowRun> Runs, bool HasBias)
{
    /// <summary>A matrix of layers, one below the other.</summary>
    public static MatrixPlan Of(params IReadOnlyList<LinearDescription> layers)
    {
        List<RowRun> runs = [];
        int rows = 0;
        foreach (LinearDescription layer in layers)
        {
            runs.Add(new RowRun(layer, 0, rows, layer.OutputFeatures));
            rows = checked(rows + layer.OutputFeatures);
        }

        return new MatrixPlan(string.Join(" and ", layers.Select(static layer => layer.Name)), layers[0].InputFeatures, rows, runs, layers.Any(static layer => layer.HasBias));
    }

    /// <summary>Queries, keys and values, each head by head, whatever the order in which a checkpoint stores them.</summary>
    public static MatrixPlan OfProjections(QueryKeyValueDescription projections, int heads, int headSize)
    {
        if (projections is not FusedProjection { Order: FusedOrder.PerHead, Linear: { } linear })
        {
            return Of(projections.LinearLayers);
        }

        IEnumerable<RowRun> runs = Enumerable.Range(0, heads).SelectMany(head => Enumerable.Range(0, 3).Select(part =>
            new RowRun(linear, ((head * 3) + part) * headSize, ((part * heads) + head) * headSize, headSize)));
        return Of(linear) with { Runs = [.. runs] };
    }
}

/// <summary>One layer's matrices.</summary>
/// <param name="Description">The layer.</param>
/// <param name="QueryKeyValue">[queries | keys | values].</param>
/// <param name="Output">The attention's output projection.</param>
/// <param name="Up">The MLP's first layer: [up], or [gate | up] where there is a gate.</param>
/// <param name="Down">The MLP's last layer.</param>
internal sealed record LayerPlan(DecoderLayerDescription Description, MatrixPlan QueryKeyValue, MatrixPlan Output, MatrixPlan Up, MatrixPlan Down)
{
    public const int MatricesPerLayer = 4;

    public IEnumerable<MatrixPlan> Matrices => [QueryKeyValue, Output, Up, Down];
}

/// <summary>What a model becomes on a device, from its description alone: built once per model.</summary>
internal sealed class DecoderPlan
{
    private DecoderPlan(DecoderDescription description)
    {
        Description = description;
        ProjectIn = description.ProjectIn is null ? null : MatrixPlan.Of(description.ProjectIn);
        ProjectOut = description.ProjectOut is null ? null : MatrixPlan.Of(description.ProjectOut);
        Layers = [.. description.Layers.Select(layer => new LayerPlan(
            layer,
            MatrixPlan.OfProjections(layer.Attention.Projections, description.Heads, description.HeadSize),
            MatrixPlan.Of(layer.Attention.Output),
            layer.Mlp.Gate is null ? MatrixPlan.Of(layer.Mlp.Up) : MatrixPlan.Of(layer.Mlp.Gate, layer.Mlp.Up),
            MatrixPlan.Of(layer.Mlp.Down)))];
    }

    public DecoderDescription Description { get; }

    public IReadOnlyList<LayerPlan> Layers { get; }

    public MatrixPlan? ProjectIn { get; }

    public MatrixPlan? ProjectOut { get; }

    /// <summary>All layers.</summary>
    public LayerRange AllLayers => new(0, Layers.Count);

    /// <summary>Every matrix, in the order of their use.</summary>
    public IEnumerable<MatrixPlan> Matrices => MatricesOf(AllLayers, isHome: true);

    /// <summary>Every norm.</summary>
    public IEnumerable<NormDescription> Norms => NormsOf(AllLayers, isHome: true);

    /// <summary>The matrices of a device's part of the model.</summary>
    /// <param name="layers">Its layers.</param>
    /// <param name="isHome">Whether it has what lies before the first layer and after the last.</param>
    public IEnumerable<MatrixPlan> MatricesOf(LayerRange layers, bool isHome) =>
    [
        .. (ReadOnlySpan<MatrixPlan>)(isHome && ProjectIn is not null ? [ProjectIn] : []),
        .. LayersOf(layers).SelectMany(static layer => layer.Matrices),
        .. (ReadOnlySpan<MatrixPlan>)(isHome && ProjectOut is not null ? [ProjectOut] : []),
    ];

    /// <summary>The norms of a device's part of the model.</summary>
    /// <inheritdoc cref="MatricesOf"/>
    public IEnumerable<NormDescription> NormsOf(LayerRange layers, bool isHome) =>
    [
        .. (ReadOnlySpan<NormDescription>)(isHome && Description.EmbeddingNorm is not null ? [Description.EmbeddingNorm] : []),
        .. LayersOf(layers).SelectMany(static layer => (NormDescription[])[layer.Description.AttentionNorm, layer.Description.MlpNorm]),
        .. (ReadOnlySpan<NormDescription>)(isHome && Description.FinalNorm is not null ? [Description.FinalNorm] : []),
    ];

    public IEnumerable<LayerPlan> LayersOf(LayerRange layers) => Layers.Skip(layers.First).Take(layers.Count);

    /// <summary>Width of the queries, keys and values of a token together.</summary>
    public int QueryKeyValueWidth => (Description.Heads + (2 * Description.KeyValueHeads)) * Description.HeadSize;

    /// <summary>The widest MLP.</summary>
    public int InnerWidth => Description.Layers.Max(static layer => layer.Mlp.Up.OutputFeatures);

    public static DecoderPlan Of(DecoderDescription description) => new(description);
}
