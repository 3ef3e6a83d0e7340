namespace KernelGen;

/// <summary>An entry of a kernel set's manifest: a generated variant and what it needs.</summary>
/// <param name="Name">The computed kernel name.</param>
/// <param name="Target">The kind of device.</param>
/// <param name="Needs">What the device must have, in words: instruction set or compute capability, memory, alignment.</param>
/// <param name="Available">Whether this machine has it.</param>
public sealed record KernelVariant(string Name, KernelTargets Target, string Needs, bool Available);

/// <summary>A combination of the spec's lists that did not become a variant.</summary>
/// <param name="Name">The name that the kernel would have had.</param>
/// <param name="Reason">Why it was dropped.</param>
public sealed record DroppedVariant(string Name, string Reason);
