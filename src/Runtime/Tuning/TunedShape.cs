namespace KernelGen;

/// <summary>What <see cref="KernelTuning.Tune(Int8KernelSet, int, int, int, IProgress{TuningProgress}?, CancellationToken)"/> found.</summary>
/// <param name="Chosen">The fastest variant, by its computed name.</param>
/// <param name="Microseconds">Its median time of a multiplication.</param>
/// <param name="Untuned">The variant that is taken without a record.</param>
/// <param name="UntunedMicroseconds">Its median time; null where it could not be timed.</param>
/// <param name="Elapsed">What tuning took.</param>
public sealed record TunedShape(string Chosen, double Microseconds, string Untuned, double? UntunedMicroseconds, TimeSpan Elapsed);
