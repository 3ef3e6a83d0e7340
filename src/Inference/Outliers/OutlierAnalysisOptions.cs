using KernelGen.Inference.Evaluation;

namespace KernelGen.Inference.Outliers;

/// <summary>How outliers are looked for. The defaults are the paper's (arXiv 2208.07339, section 4.1) where it has one.</summary>
public sealed record OutlierAnalysisOptions
{
    /// <summary>The magnitude from which an activation is an outlier.</summary>
    public float Threshold { get; init; } = 6;

    /// <summary>The least share of the decoder's layers in which a systematic feature is an outlier.</summary>
    public double LayerShare { get; init; } = 0.25;

    /// <summary>The least share of sequence positions at which a systematic feature is an outlier.</summary>
    public double PositionShare { get; init; } = 0.06;

    /// <summary>Windows and batches of the text; every perplexity is measured on the same.</summary>
    public PerplexityOptions Text { get; init; } = new() { Windows = 16 };

    /// <summary>How many times as many random columns are zeroed as there are systematic features.</summary>
    public int Draws { get; init; } = 5;

    /// <summary>Where the random draws begin.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>The thresholds at which LLM.int8() is tried, one of which is suggested; ascending.</summary>
    public IReadOnlyList<float> CandidateThresholds { get; init; } = [2, 3, 4, 6, 8, 12, 16, 24];

    /// <summary>How much perplexity, as a share of that in float32, a suggestion may cost.</summary>
    public double Tolerance { get; init; } = 0.001;

    /// <summary>Most threads; -1 for one per processor.</summary>
    public int MaxDegreeOfParallelism { get; init; } = -1;
}
