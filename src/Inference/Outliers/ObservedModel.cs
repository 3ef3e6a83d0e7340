using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Outliers;

/// <summary>A model in float32 whose linear layers can be watched and blinded.</summary>
internal sealed class ObservedModel : IDisposable
{
    private readonly ObservedLinear[][] _linear;

    private ObservedModel(TransformerModel model, IReadOnlyList<LinearInput> inputs, ObservedLinear[][] linear)
    {
        Model = model;
        Inputs = inputs;
        _linear = linear;
    }

    public TransformerModel Model { get; }

    /// <summary>Every input of a linear layer in the decoder's layers, in the order of their use.</summary>
    public IReadOnlyList<LinearInput> Inputs { get; }

    /// <summary>Loads a model, as <see cref="TransformerModel.Load(string, LinearLayerFactory?, int, IProgress{double}?, CancellationToken)"/> does.</summary>
    public static ObservedModel Load(string path, int maxDegreeOfParallelism, CancellationToken cancellation)
    {
        LinearLayerFactory make = FloatLinear.Factory(maxDegreeOfParallelism);
        List<ObservedLinear> made = [];
        TransformerModel model = TransformerModel.Load(
            path,
            source =>
            {
                made.Add(new ObservedLinear(make(source), source.Name));
                return made[^1];
            },
            maxDegreeOfParallelism,
            cancellation: cancellation);
        (List<LinearInput> inputs, List<ObservedLinear[]> linear) = ([], []);
        for (int layer = 0; layer < model.Description.Layers.Count; layer++)
        {
            DecoderLayerDescription description = model.Description.Layers[layer];
            Add(layer, LinearInputKind.Attention, description.Attention.Projections.LinearLayers);
            Add(layer, LinearInputKind.AttentionOutput, [description.Attention.Output]);
            Add(layer, LinearInputKind.Mlp, description.Mlp.Gate is { } gate ? [gate, description.Mlp.Up] : [description.Mlp.Up]);
            Add(layer, LinearInputKind.MlpInner, [description.Mlp.Down]);
        }

        return new ObservedModel(model, inputs, [.. linear]);

        void Add(int layer, LinearInputKind kind, IReadOnlyList<LinearDescription> readers)
        {
            // The checkpoint may put a prefix before the description's names.
            ObservedLinear[] layers = [.. readers.Select(reader => made.Single(
                candidate => candidate.Name == reader.Name || candidate.Name.EndsWith("." + reader.Name, StringComparison.Ordinal)))];
            inputs.Add(new LinearInput(layer, kind, [.. layers.Select(static linear => linear.Name)], layers[0].InputFeatures));
            linear.Add(layers);
        }
    }

    /// <summary>Counts the outliers of every input while some work runs the model.</summary>
    /// <param name="threshold">The magnitude from which an activation is an outlier.</param>
    /// <param name="candidates">Other thresholds, for which values are only counted.</param>
    /// <param name="work">Runs the model.</param>
    /// <returns>The statistics of each of <see cref="Inputs"/>.</returns>
    /// <exception cref="CheckpointException">An activation is infinite or not a number.</exception>
    public ColumnStatistics[] Observe(float threshold, IReadOnlyList<float> candidates, Action<TransformerModel> work)
    {
        ColumnStatistics[] statistics = [.. Inputs.Select(input => new ColumnStatistics(input.Width, threshold, candidates))];
        for (int i = 0; i < statistics.Length; i++)
        {
            _linear[i][0].Statistics = statistics[i];
        }

        try
        {
            work(Model);
        }
        finally
        {
            foreach (ObservedLinear[] readers in _linear)
            {
                readers[0].Statistics = null;
            }
        }

        int infinite = Array.FindIndex(statistics, static counted => !counted.IsFinite);
        return infinite < 0
            ? statistics
            : throw new CheckpointException(
                $"The input of '{Inputs[infinite].LinearLayers[0]}' has values that are infinite or not a number: the model does not work on this text. Check that the weights are whole.");
    }

    /// <summary>Lets the linear layers that read a space see zeros in some columns while some work runs the model.</summary>
    public T Blind<T>(FeatureSpace space, IReadOnlyList<int> columns, Func<TransformerModel, T> work)
    {
        ObservedLinear[] readers = [.. _linear.Where((_, i) => Inputs[i].Space == space).SelectMany(static linear => linear)];
        Array.ForEach(readers, reader => reader.ZeroedColumns = columns);
        try
        {
            return work(Model);
        }
        finally
        {
            Array.ForEach(readers, static reader => reader.ZeroedColumns = []);
        }
    }

    public void Dispose() => Model.Dispose();
}
