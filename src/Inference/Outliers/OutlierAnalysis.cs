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
        ColumnStatistics[] statistics = model.Observe(
            options.Threshold, options.CandidateThresholds, float32 => exact = runner.Evaluate("looking for outliers", float32));
        IReadOnlyList<SystematicFeature> features = SystematicFeatures.Find(model.Inputs, statistics, options);
        IGrouping<FeatureSpace, int>[] systematic = [.. features.GroupBy(static feature => feature.Space, static feature => feature.Statistics.Column)];

        // How many more times the text goes through a model is known only now.
        runner.Expect((systematic.Length * (1 + options.Draws)) + 1 + (3 * options.CandidateThresholds.Count));
        ZeroingExperiment[] zeroing = [.. systematic.Select(space => Zero(runner, model, space.Key, [.. space.Order()], options))];
        double vectorWise = runner.Evaluate("vector-wise int8", QuantizationScheme.Parse("absmax-vector")).Perplexity;
        ThresholdTrial[] trials = [.. options.CandidateThresholds.Select((_, i) => Try(runner, model.Inputs, statistics, i, options))];

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
            Suggest(trials, exact.Perplexity * (1 + options.Tolerance)));
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

    private static ThresholdTrial Try(
        Runner runner, IReadOnlyList<LinearInput> inputs, ColumnStatistics[] statistics, int candidate, OutlierAnalysisOptions options)
    {
        float threshold = options.CandidateThresholds[candidate];
        (long columns, long values) = (0, 0);
        List<KeyValuePair<string, IReadOnlyList<int>>> frequent = [];
        for (int i = 0; i < inputs.Count; i++)
        {
            List<int> often = [];
            ReadOnlySpan<int> reaching = statistics[i].Reaching(candidate);
            for (int k = 0; k < reaching.Length; k++)
            {
                columns += reaching[k] > 0 ? 1 : 0;
                values += reaching[k];
                if (reaching[k] >= options.PositionShare * statistics[i].Rows)
                {
                    often.Add(k);
                }
            }

            frequent.AddRange(inputs[i].LinearLayers.Select(layer => KeyValuePair.Create(layer, (IReadOnlyList<int>)often)));
        }

        FixedOutlierSet set = new(frequent);
        string name = FormattableString.Invariant($"LLM.int8() from {threshold}");
        return new ThresholdTrial(
            threshold,
            runner.Evaluate(name, QuantizationScheme.Parse("llm-int8"), threshold).Perplexity,
            runner.Evaluate($"{name}, by rows", QuantizationScheme.Parse("llm-int8-elements"), threshold).Perplexity,
            (double)columns / inputs.Sum(static input => (long)input.Width),
            values / inputs.Zip(statistics).Sum(static pair => (double)pair.First.Width * pair.Second.Rows),
            set,
            frequent.Sum(static layer => layer.Value.Count),
            runner.Evaluate($"{name}, fixed set", QuantizationScheme.Fixed, fixedOutliers: set).Perplexity);
    }

    private static OutlierSuggestion Suggest(ThresholdTrial[] trials, double most)
    {
        ThresholdTrial threshold = trials.LastOrDefault(trial => Worse(trial) <= most) ?? trials.MinBy(Worse)!;
        ThresholdTrial set = trials.Where(trial => trial.FixedPerplexity <= most).MinBy(static trial => trial.FixedColumns)
            ?? trials.MinBy(static trial => trial.FixedPerplexity)!;
        return new OutlierSuggestion(threshold, set);

        static double Worse(ThresholdTrial trial) => Math.Max(trial.Perplexity, trial.RowPerplexity);
    }

    /// <summary>Measures perplexities on the one text, and how far all of it has come.</summary>
    private sealed class Runner(
        string path, int[] tokens, OutlierAnalysisOptions options, IProgress<OutlierProgress>? progress, CancellationToken cancellation)
    {
        private int _done;
        private int _expected = 1 + 1 + options.Draws + 1 + (3 * options.CandidateThresholds.Count);

        /// <summary>Sets how many evaluations are still to come.</summary>
        public void Expect(int evaluations) => _expected = _done + evaluations;

        public PerplexityResult Evaluate(string stage, QuantizationScheme scheme, float? threshold = null, FixedOutlierSet? fixedOutliers = null)
        {
            LinearLayerFactory make = scheme.CreateFactory(threshold, options.MaxDegreeOfParallelism, fixedOutliers);
            using TransformerModel model = TransformerModel.Load(path, make, options.MaxDegreeOfParallelism, cancellation: cancellation);
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
