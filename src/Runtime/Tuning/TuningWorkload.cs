namespace KernelGen.Tuning;

/// <summary>A variant that takes part in tuning a shape.</summary>
/// <param name="Name">The computed name.</param>
/// <param name="Group">Variants of a group share what matters most for their speed.</param>
/// <param name="Kernel">Variants of a group with the same kernel differ in how the work is cut alone.</param>
/// <param name="Leads">Whether it speaks for its kernel in the first round.</param>
/// <param name="Pruned">Why it need not be tried; null where it is.</param>
internal sealed record TuningCandidate(string Name, string Group, string Kernel, bool Leads, string? Pruned);

/// <summary>One shape on one device, with data: runs any variant, checks it and times it.</summary>
internal abstract class TuningWorkload : IDisposable
{
    /// <summary>What a record of it is for.</summary>
    public abstract TuningKey Key { get; }

    /// <summary>M.</summary>
    public abstract int Rows { get; }

    /// <summary>Columns of the activations that hold outliers.</summary>
    public abstract int OutlierColumns { get; }

    /// <summary>The variant that is taken without a record.</summary>
    public abstract string Untuned { get; }

    /// <summary>Every variant that there is.</summary>
    public abstract IReadOnlyList<TuningCandidate> Candidates { get; }

    /// <summary>Runs a variant once, which also warms it up, and compares its results with the oracle's.</summary>
    /// <param name="candidate">The variant.</param>
    /// <param name="microseconds">What that run took, if it is a sample like others; else 0.</param>
    /// <returns>What is wrong with them; null where nothing is.</returns>
    public abstract string? Verify(TuningCandidate candidate, out double microseconds);

    /// <summary>Whether rough samples are of other data than the others, so that they cannot be compared.</summary>
    public virtual bool RoughDiffers => false;

    /// <summary>Variants that passed <see cref="Verify"/> and turned out to be wrong afterwards, each with what is wrong.</summary>
    public virtual IReadOnlyDictionary<string, string> Revoked => System.Collections.Frozen.FrozenDictionary<string, string>.Empty;

    /// <summary>Runs a variant that was verified.</summary>
    /// <param name="candidate">The variant.</param>
    /// <param name="microseconds">The least time to spend; once at least.</param>
    /// <param name="rough">Whether the data may be in a cache, which spares laying it out: enough to tell variants apart that are far from each other.</param>
    /// <returns>Microseconds a multiplication.</returns>
    public abstract double Sample(TuningCandidate candidate, double microseconds, bool rough = false);

    /// <inheritdoc/>
    public abstract void Dispose();
}
