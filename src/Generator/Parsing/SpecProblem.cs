using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Parsing;

/// <summary>Why an annotated class is no valid spec. Never part of the pipeline, so it may hold a symbol.</summary>
internal sealed class SpecProblem
{
    /// <summary>A problem of an argument of the attribute.</summary>
    public SpecProblem(DiagnosticDescriptor descriptor, string argument, params object[] messageArguments)
        : this(descriptor, messageArguments) => Argument = argument;

    /// <summary>A problem of a declaration: the class, a type around it, or a member.</summary>
    public SpecProblem(DiagnosticDescriptor descriptor, ISymbol symbol, params object[] messageArguments)
        : this(descriptor, messageArguments) => Symbol = symbol;

    private SpecProblem(DiagnosticDescriptor descriptor, object[] messageArguments)
    {
        Descriptor = descriptor;
        MessageArguments = messageArguments;
    }

    public DiagnosticDescriptor Descriptor { get; }

    public string? Argument { get; }

    public ISymbol? Symbol { get; }

    public object[] MessageArguments { get; }
}
