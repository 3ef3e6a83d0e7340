namespace KernelGen.Tuning;

/// <summary>What became of a variant.</summary>
internal enum VariantOutcome
{
    /// <summary>It came to the last round; its timing decides.</summary>
    Finalist,

    /// <summary>It was left behind on the way; its timing has fewer samples.</summary>
    Eliminated,

    /// <summary>It was not run, by a rule.</summary>
    Pruned,

    /// <summary>Its results are not those of the oracle.</summary>
    Wrong,

    /// <summary>It could not be run.</summary>
    Failed,
}

/// <summary>A variant in a record.</summary>
/// <param name="Name">The computed name.</param>
/// <param name="Group">What it shares with others: on a processor the family that weights are packed for, on a GPU the kind of kernel.</param>
/// <param name="Outcome">What became of it.</param>
/// <param name="Reason">Why it is not a finalist; null for a finalist.</param>
/// <param name="Timing">Its times; null where it was not timed.</param>
internal sealed record VariantResult(string Name, string Group, VariantOutcome Outcome, string? Reason, TuningTiming? Timing);
