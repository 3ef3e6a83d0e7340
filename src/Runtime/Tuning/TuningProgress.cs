namespace KernelGen;

/// <summary>How far the tuning of a shape has come.</summary>
/// <param name="Tried">Variants that were timed.</param>
/// <param name="Candidates">Variants that may be.</param>
/// <param name="Best">The fastest so far; null before the first sample.</param>
/// <param name="BestMicroseconds">Its fastest sample.</param>
/// <param name="Share">The share of the race that is run, 0 to 1.</param>
public readonly record struct TuningProgress(int Tried, int Candidates, string? Best, double BestMicroseconds, double Share);
