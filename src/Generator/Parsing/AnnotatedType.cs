using KernelGen.Generator.Diagnostics;
using KernelGen.Generator.Emit;
using KernelGen.Generator.Models;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace KernelGen.Generator.Parsing;

/// <summary>What every annotated class is asked: whether it can be extended, what it is called, what its attribute says.</summary>
internal static class AnnotatedType
{
    /// <summary>The attribute, or null for a second one on the class, which is the compiler's error and makes no second spec.</summary>
    public static AttributeData? FirstAttribute(GeneratorAttributeSyntaxContext attributed)
    {
        AttributeData attribute = attributed.Attributes[0];
        AttributeData first = attributed.TargetSymbol.GetAttributes()
            .First(candidate => SymbolEqualityComparer.Default.Equals(candidate.AttributeClass, attribute.AttributeClass));
        return ReferenceEquals(first, attribute) ? attribute : null;
    }

    /// <summary>Reports why generated code could not extend the class.</summary>
    public static void Check(INamedTypeSymbol type, IReadOnlyList<string> generatedNames, List<SpecProblem> problems)
    {
        for (INamedTypeSymbol? part = type; part is not null; part = part.ContainingType)
        {
            if (!IsPartial(part))
            {
                problems.Add(new SpecProblem(Descriptors.NotPartial, part, part.Name));
            }

            if (part.IsFileLocal)
            {
                problems.Add(new SpecProblem(Descriptors.FileLocal, part, part.Name));
            }
        }

        TypeIdentity identity = Identify(type);
        foreach (string name in generatedNames)
        {
            if (NameInUse(type, identity, name) is { } symbol)
            {
                problems.Add(new SpecProblem(Descriptors.MemberExists, symbol, type.Name, name));
            }
        }
    }

    /// <summary>What has the name of a generated member: the class itself, a type parameter or a member, but not what was generated before.</summary>
    private static ISymbol? NameInUse(INamedTypeSymbol type, TypeIdentity identity, string name)
    {
        if (type.Name == name)
        {
            return type;
        }

        // The analyzer also sees what was generated: that one is no conflict.
        return type.TypeParameters.Cast<ISymbol>().Where(parameter => parameter.Name == name)
            .Concat(type.GetMembers(name))
            .FirstOrDefault(symbol => symbol.DeclaringSyntaxReferences.Any(reference => !GeneratedFile.IsOf(identity, reference.SyntaxTree.FilePath)));
    }

    private static bool IsPartial(INamedTypeSymbol type) => type.DeclaringSyntaxReferences
        .Select(reference => reference.GetSyntax())
        .OfType<TypeDeclarationSyntax>()
        .Any(declaration => declaration.Modifiers.Any(SyntaxKind.PartialKeyword));

    /// <summary>A named argument of an attribute, or null.</summary>
    public static TypedConstant? Argument(AttributeData attribute, string name)
    {
        foreach (KeyValuePair<string, TypedConstant> argument in attribute.NamedArguments)
        {
            if (argument.Key == name)
            {
                return argument.Value;
            }
        }

        return null;
    }

    public static TypeIdentity Identify(INamedTypeSymbol type)
    {
        Stack<string> declarations = new();
        string metadataName = string.Empty;
        for (INamedTypeSymbol? part = type; part is not null; part = part.ContainingType)
        {
            declarations.Push(Declaration(part));
            metadataName = metadataName.Length == 0 ? part.MetadataName : $"{part.MetadataName}+{metadataName}";
        }

        Stack<string> names = new();
        for (INamespaceSymbol ns = type.ContainingNamespace; !ns.IsGlobalNamespace; ns = ns.ContainingNamespace)
        {
            names.Push(ns.Name);
        }

        return new TypeIdentity(
            string.Join(".", names.Select(Identifier)),
            new(declarations),
            string.Join(".", names.Append(metadataName)),
            type.ToDisplayString(SymbolDisplayFormat.CSharpErrorMessageFormat));
    }

    private static string Declaration(INamedTypeSymbol type)
    {
        string keyword = (type.IsRecord, type.TypeKind) switch
        {
            (true, TypeKind.Struct) => "record struct",
            (true, _) => "record",
            (_, TypeKind.Struct) => "struct",
            (_, TypeKind.Interface) => "interface",
            _ => "class",
        };
        string parameters = string.Join(", ", type.TypeParameters.Select(parameter => Identifier(parameter.Name)));
        return $"partial {keyword} {Identifier(type.Name)}{(parameters.Length > 0 ? $"<{parameters}>" : string.Empty)}";
    }

    /// <summary>A name as source has it: escaped where it is a keyword, even one such as <c>record</c> that is a keyword in some places only.</summary>
    private static string Identifier(string name) =>
        SyntaxFacts.GetKeywordKind(name) != SyntaxKind.None || SyntaxFacts.GetContextualKeywordKind(name) != SyntaxKind.None
            ? $"@{name}"
            : name;
}
