using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Parsing;

/// <summary>Why an annotated class is no valid spec.</summary>
/// <param name="descriptor">The rule.</param>
/// <param name="argument">The attribute argument that it is about, or null for the class itself.</param>
/// <param name="messageArguments">What the message names.</param>
internal sealed class SpecProblem(DiagnosticDescriptor descriptor, string? argument, params object[] messageArguments)
{
    public DiagnosticDescriptor Descriptor { get; } = descriptor;

    public string? Argument { get; } = argument;

    public object[] MessageArguments { get; } = messageArguments;
}
