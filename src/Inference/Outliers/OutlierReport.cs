namespace KernelGen.Inference.Outliers;

/// <summary>The quartiles of the values of an outlier column that are outliers, with their signs; within 0.1 % of the exact ones.</summary>
/// <param name="Lower">A quarter of them is at most this.</param>
/// <param name="Median">Half of them is.</param>
/// <param name="Upper">Three quarters are.</param>
public readonly record struct Quartiles(double Lower, double Median, double Upper);

/// <summary>A column with at least one outlier.</summary>
/// <param name="Column">The column, from 0.</param>
/// <param name="PositionShare">Share of the sequence positions at which it is an outlier.</param>
/// <param name="Absmax">Its largest magnitude.</param>
/// <param name="PositiveShare">Share of its outliers that are positive.</param>
/// <param name="Quartiles">Quartiles of its outliers.</param>
public sealed record OutlierColumn(int Column, double PositionShare, float Absmax, double PositiveShare, Quartiles Quartiles)
{
    /// <summary>Whether 99 % of its outliers have the same sign: half of the int8 range would be wasted on it.</summary>
    public bool IsOneSided => PositiveShare is <= 0.01 or >= 0.99;
}

/// <summary>The outliers of one input.</summary>
/// <param name="Input">The input.</param>
/// <param name="Absmax">Its largest magnitude.</param>
/// <param name="Columns">Its columns with outliers, ascending.</param>
public sealed record InputOutliers(LinearInput Input, float Absmax, IReadOnlyList<OutlierColumn> Columns);

/// <summary>A column that is an outlier in so many layers and at so many positions that it is a feature of the model.</summary>
/// <param name="Space">What the column's number means.</param>
/// <param name="Layers">Number of decoder layers in which it is an outlier.</param>
/// <param name="LayerShare">Their share of all layers.</param>
/// <param name="Statistics">Over all inputs of the space.</param>
public sealed record SystematicFeature(FeatureSpace Space, int Layers, double LayerShare, OutlierColumn Statistics);

/// <summary>Columns that were set to zero wherever a linear layer reads them, and what became of the model.</summary>
/// <param name="Columns">The columns, ascending.</param>
/// <param name="Perplexity">The perplexity without them.</param>
public sealed record ZeroedColumns(IReadOnlyList<int> Columns, double Perplexity);

/// <summary>How much the model needs the systematic features of a space.</summary>
/// <param name="Space">The space.</param>
/// <param name="Systematic">Without the systematic features.</param>
/// <param name="Random">Without as many random other columns, draw by draw.</param>
public sealed record ZeroingExperiment(FeatureSpace Space, ZeroedColumns Systematic, IReadOnlyList<ZeroedColumns> Random);

/// <summary>What LLM.int8() makes of the model at one threshold.</summary>
/// <param name="Threshold">The threshold.</param>
/// <param name="Perplexity">With outlier columns, which span the whole batch: the scheme <c>llm-int8</c>.</param>
/// <param name="RowPerplexity">
/// With outliers decided row by row, the scheme <c>llm-int8-elements</c>: what <c>llm-int8</c> comes to as well where a batch is one token.
/// </param>
/// <param name="ColumnShare">Share of the columns of all inputs that have an outlier somewhere in the text.</param>
/// <param name="ValueShare">Share of the values of all inputs that are outliers.</param>
/// <param name="FixedOutliers">
/// Per linear layer the columns that are outliers at as many positions of its input as a systematic feature is.
/// </param>
/// <param name="FixedColumns">Number of columns in that set, over all linear layers.</param>
/// <param name="FixedPerplexity">With that set: the scheme <c>llm-int8-fixed</c>.</param>
public sealed record ThresholdTrial(
    float Threshold,
    double Perplexity,
    double RowPerplexity,
    double ColumnShare,
    double ValueShare,
    FixedOutlierSet FixedOutliers,
    int FixedColumns,
    double FixedPerplexity);

/// <summary>What the analysis recommends.</summary>
/// <param name="Threshold">
/// The trial with the highest threshold at which LLM.int8() costs no more than the tolerance, both by columns and row by row, and so whatever
/// the batch; where there is none, the one whose worse perplexity of the two is lowest.
/// </param>
/// <param name="Fixed">The trial with the smallest fixed set that costs no more than the tolerance; where there is none, the one with the lowest perplexity.</param>
public sealed record OutlierSuggestion(ThresholdTrial Threshold, ThresholdTrial Fixed);

/// <summary>What <see cref="OutlierAnalysis"/> found.</summary>
/// <param name="Options">How it was looked for.</param>
/// <param name="Layers">The decoder's layers.</param>
/// <param name="Windows">Windows of the text that were used.</param>
/// <param name="WindowLength">Tokens of each.</param>
/// <param name="Perplexity">Perplexity in float32.</param>
/// <param name="VectorWisePerplexity">Perplexity with vector-wise int8 and no outliers apart.</param>
/// <param name="Inputs">Every input of a linear layer in the decoder's layers, in the order of their use.</param>
/// <param name="Features">The systematic features, by space, then by share of positions, largest first.</param>
/// <param name="Zeroing">An experiment per space that has systematic features.</param>
/// <param name="Trials">LLM.int8() at each threshold, ascending.</param>
/// <param name="Suggestion">What to do about it.</param>
public sealed record OutlierReport(
    OutlierAnalysisOptions Options,
    int Layers,
    int Windows,
    int WindowLength,
    double Perplexity,
    double VectorWisePerplexity,
    IReadOnlyList<InputOutliers> Inputs,
    IReadOnlyList<SystematicFeature> Features,
    IReadOnlyList<ZeroingExperiment> Zeroing,
    IReadOnlyList<ThresholdTrial> Trials,
    OutlierSuggestion Suggestion);
