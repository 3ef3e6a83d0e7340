using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Outliers;

/// <summary>How far an analysis has come.</summary>
/// <param name="Stage">What is going on now.</param>
/// <param name="Share">The share that is done, up to 1.</param>
public readonly record struct OutlierProgress(string Stage, double Share);

/// <summary>
/// The outlier analysis of LLM.int8() (arXiv 2208.07339, section 4) on a model and a text: which columns of the linear layers' inputs are
/// outliers, which of them are systematic features, what the model is without these, and what threshold and fixed set follow from it.
/// </summary>
public static class OutlierAnalysis
{
    /// <summary>Analyses a checkpoint.</summary>
    /// <param name="path">A folder in Hugging Face layout. Of an int8 checkpoint the dequantized weights are analysed.</param>
    /// <param name="tokens">The whole text's token ids.</param>
    /// <param name="options">How outliers are looked for; null for the defaults.</param>
    /// <param name="progress">Receives progress.</param>
    /// <param name="cancellation">Ends the analysis between two layers.</param>
    /// <exception cref="CheckpointException">The checkpoint cannot be used, or its activations are not finite.</exception>
    /// <exception cref="ArgumentException">The text is shorter than one window, or an option is out of range; the message says what to do.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static OutlierReport Run(
        string path, int[] tokens, OutlierAnalysisOptions? options = null, IProgress<OutlierProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(tokens);
        options ??= new OutlierAnalysisOptions();
        Check(options);
        Runner runner = new(path, tokens, options, progress, cancellation);
        using ObservedModel model = ObservedModel.Load(path, options.MaxDegreeOfParallelism, cancellation);

        PerplexityResult exact = null!;
        ColumnStatistics[] statistics = model.Observe(options.Threshold, float32 => exact = runner.Evaluate("looking for outliers", float32));
        IReadOnlyList<SystematicFeature> features = SystematicFeatures.Find(model.Inputs, statistics, options);
        IGrouping<FeatureSpace, int>[] systematic = [.. features.GroupBy(static feature => feature.Space, static feature => feature.Statistics.Column)];

        // How many more times the text goes through a model is known only now.
        runner.Expect((systematic.Length * (1 + options.Draws)) + options.CandidateThresholds.Count + 3);
        ZeroingExperiment[] zeroing = [.. systematic.Select(space => Zero(runner, model, space.Key, [.. space.Order()], options))];

        double vectorWise = runner.Evaluate("vector-wise int8", QuantizationScheme.Parse("absmax-vector")).Perplexity;
        QuantizationScheme decomposed = QuantizationScheme.Parse("llm-int8");
        ThresholdTrial[] trials = [.. options.CandidateThresholds.Select(threshold => new ThresholdTrial(
            threshold,
            runner.Evaluate(FormattableString.Invariant($"LLM.int8() from {threshold}"), decomposed, threshold).Perplexity,
            ColumnShare(model.Inputs, statistics, threshold)))];
        OutlierSuggestion suggestion = Suggest(runner, model, statistics, trials, exact.Perplexity, options);

        return new OutlierReport(
            options,
            model.Model.Description.Layers.Count,
            exact.Windows,
            (int)(exact.TokensScored / exact.Windows) + 1,
            exact.Perplexity,
            vectorWise,
            [.. model.Inputs.Select((input, i) => new InputOutliers(input, statistics[i].Absmax.ToArray().Max(), [.. statistics[i].Columns()]))],
            features,
            zeroing,
            trials,
            suggestion);
    }

    private static void Check(OutlierAnalysisOptions options)
    {
        RequirePositive(options.Threshold);
        foreach (float threshold in options.CandidateThresholds)
        {
            RequirePositive(threshold);
        }

        if (options.CandidateThresholds.Count == 0 || options.CandidateThresholds.Zip(options.CandidateThresholds.Skip(1)).Any(static pair => pair.First >= pair.Second))
        {
            throw new ArgumentException("The candidate thresholds must be at least one, ascending, each once.", nameof(options));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(options.Draws, 1, nameof(options));
        if (options is not { LayerShare: > 0 and <= 1, PositionShare: > 0 and <= 1 })
        {
            throw new ArgumentException($"A share is more than 0 and at most 1, not {options.LayerShare} of the layers and {options.PositionShare} of the positions.", nameof(options));
        }

        static void RequirePositive(float threshold)
        {
            if (!(threshold > 0) || !float.IsFinite(threshold))
            {
                throw new ArgumentOutOfRangeException(nameof(options), threshold, "An outlier threshold is a positive, finite number.");
            }
        }
    }

    private static ZeroingExperiment Zero(Runner runner, ObservedModel model, FeatureSpace space, int[] columns, OutlierAnalysisOptions options)
    {
        int[] others = [.. Enumerable.Range(0, model.Inputs.First(input => input.Space == space).Width).Except(columns)];
        Random random = new(options.Seed);
        ZeroedColumns[] draws = new ZeroedColumns[options.Draws];
        ZeroedColumns systematic = Without(columns, "without the systematic features");
        for (int i = 0; i < draws.Length; i++)
        {
            random.Shuffle(others);
            draws[i] = Without([.. others.Take(columns.Length).Order()], "without as many random columns");
        }

        return new ZeroingExperiment(space, systematic, draws);

        ZeroedColumns Without(int[] zeroed, string stage) =>
            new(zeroed, model.Blind(space, zeroed, blinded => runner.Evaluate(stage, blinded)).Perplexity);
    }

    /// <summary>Share of the columns of all inputs, each counted once however many layers read it, that have an outlier somewhere.</summary>
    private static double ColumnShare(IReadOnlyList<LinearInput> inputs, ColumnStatistics[] statistics, float threshold)
    {
        long outliers = 0;
        foreach (ColumnStatistics input in statistics)
        {
            foreach (float absmax in input.Absmax)
            {
                outliers += absmax >= threshold ? 1 : 0;
            }
        }

        return (double)outliers / inputs.Sum(static input => (long)input.Width);
    }

    private static OutlierSuggestion Suggest(
        Runner runner, ObservedModel model, ColumnStatistics[] seen, ThresholdTrial[] trials, double exact, OutlierAnalysisOptions options)
    {
        float threshold = (trials.LastOrDefault(trial => trial.Perplexity <= exact * (1 + options.Tolerance)) ?? trials.MinBy(static trial => trial.Perplexity)!).Threshold;
        ColumnStatistics[] statistics = threshold == options.Threshold
            ? seen
            : model.Observe(threshold, float32 => runner.Evaluate("choosing a fixed set", float32));
        List<KeyValuePair<string, IReadOnlyList<int>>> columns = [];
        for (int i = 0; i < statistics.Length; i++)
        {
            int[] often = [.. statistics[i].Columns().Where(column => column.PositionShare >= options.PositionShare).Select(static column => column.Column)];
            columns.AddRange(model.Inputs[i].LinearLayers.Select(layer => KeyValuePair.Create(layer, (IReadOnlyList<int>)often)));
        }

        FixedOutlierSet set = new(columns);
        double perplexity = runner.Evaluate("the fixed set", QuantizationScheme.Fixed, fixedOutliers: set).Perplexity;
        return new OutlierSuggestion(threshold, set, columns.Sum(static layer => layer.Value.Count), perplexity);
    }

    /// <summary>Measures perplexities on the one text, and how far all of it has come.</summary>
    private sealed class Runner(
        string path, int[] tokens, OutlierAnalysisOptions options, IProgress<OutlierProgress>? progress, CancellationToken cancellation)
    {
        private int _done;
        private int _expected = 1 + options.Draws + 1 + options.CandidateThresholds.Count + 3;

        /// <summary>Sets how many evaluations are still to come.</summary>
        public void Expect(int evaluations) => _expected = _done + evaluations;

        public PerplexityResult Evaluate(string stage, QuantizationScheme scheme, float? threshold = null, FixedOutlierSet? fixedOutliers = null)
        {
            LinearLayerFactory make = scheme.CreateFactory(threshold, options.MaxDegreeOfParallelism, fixedOutliers);
            using TransformerModel model = TransformerModel.Load(
                path,
                source =>
                {
                    cancellation.ThrowIfCancellationRequested();
                    return make(source);
                },
                options.MaxDegreeOfParallelism);
            return Evaluate(stage, model);
        }

        public PerplexityResult Evaluate(string stage, TransformerModel model)
        {
            progress?.Report(new OutlierProgress(stage, (double)_done / _expected));
            PerplexityResult result = Perplexity.Evaluate(
                model, tokens, options.Text, options.MaxDegreeOfParallelism, new Batches(this, stage), cancellation);
            _done++;
            return result;
        }

        private sealed class Batches(Runner runner, string stage) : IProgress<PerplexityProgress>
        {
            public void Report(PerplexityProgress value) =>
                runner.Report(stage, (runner._done + ((double)value.WindowsDone / value.Windows)) / runner._expected);
        }

        private void Report(string stage, double share) => progress?.Report(new OutlierProgress(stage, share));
    }
}
