using System.Text;
using Microsoft.CodeAnalysis;

namespace KernelGen.Docs.Tests.Reference;

/// <summary>Writes a page of Markdown for every public type of an assembly, and an index, from its symbols and its documentation file.</summary>
internal sealed class ReferenceWriter
{
    private static readonly SymbolDisplayFormat Declaration = new(
        SymbolDisplayGlobalNamespaceStyle.Omitted,
        SymbolDisplayTypeQualificationStyle.NameOnly,
        SymbolDisplayGenericsOptions.IncludeTypeParameters | SymbolDisplayGenericsOptions.IncludeTypeConstraints | SymbolDisplayGenericsOptions.IncludeVariance,
        SymbolDisplayMemberOptions.IncludeModifiers | SymbolDisplayMemberOptions.IncludeType | SymbolDisplayMemberOptions.IncludeParameters
            | SymbolDisplayMemberOptions.IncludeConstantValue | SymbolDisplayMemberOptions.IncludeRef,
        SymbolDisplayDelegateStyle.NameAndSignature,
        SymbolDisplayExtensionMethodStyle.StaticMethod,
        SymbolDisplayParameterOptions.IncludeType | SymbolDisplayParameterOptions.IncludeName | SymbolDisplayParameterOptions.IncludeDefaultValue
            | SymbolDisplayParameterOptions.IncludeParamsRefOut | SymbolDisplayParameterOptions.IncludeExtensionThis,
        SymbolDisplayPropertyStyle.ShowReadWriteDescriptor,
        SymbolDisplayLocalOptions.None,
        SymbolDisplayKindOptions.IncludeTypeKeyword,
        SymbolDisplayMiscellaneousOptions.UseSpecialTypes | SymbolDisplayMiscellaneousOptions.IncludeNullableReferenceTypeModifier
            | SymbolDisplayMiscellaneousOptions.EscapeKeywordIdentifiers);

    private readonly SortedDictionary<string, INamedTypeSymbol> _types = new(StringComparer.Ordinal);
    private readonly DocumentationText _text;

    /// <summary>Reads what there is to write about.</summary>
    /// <param name="assemblies">The assemblies.</param>
    /// <param name="comments">Their documentation files.</param>
    public ReferenceWriter(IEnumerable<IAssemblySymbol> assemblies, IEnumerable<string> comments)
    {
        foreach (INamedTypeSymbol type in assemblies.SelectMany(static assembly => PublicTypes(assembly.GlobalNamespace)))
        {
            _types.Add(PageName(type), type);
        }

        _text = new DocumentationText(comments, LinkTo);
    }

    /// <summary>The files by name.</summary>
    public IReadOnlyDictionary<string, string> Write()
    {
        Dictionary<string, string> files = new() { ["README.md"] = Index() };
        foreach ((string name, INamedTypeSymbol type) in _types)
        {
            files[name] = TypePage(type);
        }

        return files;
    }

    private static string PageName(INamedTypeSymbol type) => $"{FullName(type)}.md";

    private static string FullName(INamedTypeSymbol type)
    {
        string name = type.Arity == 0 ? type.Name : $"{type.Name}-{type.Arity}";
        return type.ContainingType is { } outer ? $"{FullName(outer)}.{name}" : $"{type.ContainingNamespace.ToDisplayString()}.{name}";
    }

    private static string Title(ISymbol symbol) => symbol.ToDisplayString(new SymbolDisplayFormat(
        typeQualificationStyle: SymbolDisplayTypeQualificationStyle.NameAndContainingTypes,
        genericsOptions: SymbolDisplayGenericsOptions.IncludeTypeParameters,
        memberOptions: SymbolDisplayMemberOptions.IncludeParameters,
        parameterOptions: SymbolDisplayParameterOptions.IncludeType,
        miscellaneousOptions: SymbolDisplayMiscellaneousOptions.UseSpecialTypes | SymbolDisplayMiscellaneousOptions.IncludeNullableReferenceTypeModifier));

    private static IEnumerable<INamedTypeSymbol> PublicTypes(INamespaceOrTypeSymbol container) =>
        container.GetMembers().SelectMany(static member => member switch
        {
            INamespaceSymbol inner => PublicTypes(inner),
            INamedTypeSymbol { DeclaredAccessibility: Accessibility.Public } type => PublicTypes(type).Prepend(type),
            _ => [],
        });

    /// <summary>What a user can call or set: not what the compiler makes of a record, nor accessors.</summary>
    private static IEnumerable<ISymbol> Members(INamedTypeSymbol type) => type.GetMembers()
        .Where(static member => member.DeclaredAccessibility is Accessibility.Public or Accessibility.Protected or Accessibility.ProtectedOrInternal)
        .Where(static member => member is not INamedTypeSymbol and not IMethodSymbol { MethodKind: MethodKind.PropertyGet or MethodKind.PropertySet or MethodKind.EventAdd or MethodKind.EventRemove or MethodKind.StaticConstructor })
        .Where(static member => !member.IsImplicitlyDeclared && !IsMadeByCompiler(member))
        .Where(member => type.TypeKind is not (TypeKind.Enum or TypeKind.Delegate) || member is IFieldSymbol)
        .OrderBy(static member => Rank(member))
        .ThenBy(member => type.TypeKind == TypeKind.Enum ? "" : member.Name, StringComparer.Ordinal)
        .ThenBy(static member => member is IMethodSymbol method ? method.Parameters.Length : 0)
        .ThenBy(member => type.TypeKind == TypeKind.Enum ? "" : Title(member), StringComparer.Ordinal);

    private static bool IsMadeByCompiler(ISymbol member) =>
        member.GetAttributes().Any(static attribute => attribute.AttributeClass?.Name == "CompilerGeneratedAttribute")
        || (member.ContainingType.IsRecord && member.Name is "EqualityContract" or "PrintMembers" or "<Clone>$" or "Deconstruct")
        || (member is IMethodSymbol { MethodKind: MethodKind.Constructor, Parameters.Length: 0 } && member.ContainingType.IsValueType);

    private static int Rank(ISymbol member) => member switch
    {
        IFieldSymbol => 0,
        IMethodSymbol { MethodKind: MethodKind.Constructor } => 1,
        IPropertySymbol => 2,
        IEventSymbol => 3,
        _ => 4,
    };

    private string Index()
    {
        StringBuilder page = new();
        page.Append("# Reference\n\nEvery public type, from the comments in the code. Written by `tests/Docs.Tests`: see [contributing](../../CONTRIBUTING.md#documentation-is-executed).\n");
        foreach (IGrouping<string, INamedTypeSymbol> group in _types.Values.GroupBy(static type => type.ContainingNamespace.ToDisplayString()).OrderBy(static group => group.Key, StringComparer.Ordinal))
        {
            page.Append($"\n## {group.Key}\n\n| Type | |\n|---|---|\n");
            foreach (INamedTypeSymbol type in group)
            {
                page.Append($"| [{Cell(Title(type))}]({PageName(type)}) | {Cell(_text.Of(type).FirstParagraph)} |\n");
            }
        }

        return page.ToString();
    }

    private string TypePage(INamedTypeSymbol type)
    {
        Documentation comment = _text.Of(type);
        StringBuilder page = new();
        page.Append($"# {Escape(Title(type))}\n\nNamespace [{type.ContainingNamespace.ToDisplayString()}](README.md#{type.ContainingNamespace.ToDisplayString().Replace(".", "", StringComparison.Ordinal).ToLowerInvariant()}), assembly {type.ContainingAssembly.Name}\n\n");
        page.Append($"```csharp\n{TypeDeclaration(type)}\n```\n");
        Append(page, comment);
        foreach (IGrouping<string, ISymbol> group in Members(type).GroupBy(Kind))
        {
            page.Append($"\n## {group.Key}\n");
            if (type.TypeKind == TypeKind.Enum)
            {
                page.Append("\n| Value | |\n|---|---|\n");
                foreach (ISymbol member in group)
                {
                    page.Append($"| `{member.Name}` | {Cell(_text.Of(member).Summary)} |\n");
                }

                continue;
            }

            foreach (ISymbol member in group)
            {
                page.Append($"\n### {Escape(MemberTitle(member))}\n\n```csharp\n{member.ToDisplayString(Declaration)}\n```\n");
                Append(page, _text.Of(member));
            }
        }

        return page.ToString();
    }

    private static string Kind(ISymbol member) => member switch
    {
        IFieldSymbol { ContainingType.TypeKind: TypeKind.Enum } => "Values",
        IFieldSymbol => "Fields",
        IMethodSymbol { MethodKind: MethodKind.Constructor } => "Constructors",
        IPropertySymbol => "Properties",
        IEventSymbol => "Events",
        _ => "Methods",
    };

    private static string MemberTitle(ISymbol member)
    {
        string title = Title(member), outer = Title(member.ContainingType) + ".";
        return title.StartsWith(outer, StringComparison.Ordinal) ? title[outer.Length..] : title;
    }

    private static string TypeDeclaration(INamedTypeSymbol type)
    {
        if (type.TypeKind == TypeKind.Delegate)
        {
            return $"public {type.ToDisplayString(Declaration)}";
        }

        string modifiers = type switch
        {
            { IsStatic: true } => "static ",
            { IsValueType: true, IsReadOnly: true } => "readonly ",
            { TypeKind: TypeKind.Class, IsAbstract: true } => "abstract ",
            { TypeKind: TypeKind.Class, IsSealed: true } => "sealed ",
            _ => "",
        };
        string[] bases =
        [
            .. (type.BaseType is { SpecialType: SpecialType.None } parent && type.TypeKind == TypeKind.Class ? new[] { parent } : [])
                .Concat(type.Interfaces.Where(static contract => contract.Name != "IEquatable"))
                .Select(static parent => parent.ToDisplayString(SymbolDisplayFormat.MinimallyQualifiedFormat)),
        ];
        return $"public {modifiers}{type.ToDisplayString(Declaration)}{(bases.Length == 0 ? "" : " : " + string.Join(", ", bases))}";
    }

    private static void Append(StringBuilder page, Documentation comment)
    {
        page.Append($"\n{comment.Summary}\n");
        if (comment.Remarks.Length > 0)
        {
            page.Append($"\n{comment.Remarks}\n");
        }

        if (comment.Parameters.Count > 0)
        {
            page.Append("\n| Parameter | |\n|---|---|\n");
            foreach ((string name, string text) in comment.Parameters)
            {
                page.Append($"| `{name}` | {Cell(text)} |\n");
            }
        }

        if (comment.Returns.Length > 0)
        {
            page.Append($"\nReturns: {comment.Returns}\n");
        }

        foreach ((string type, string text) in comment.Exceptions)
        {
            page.Append($"\nThrows {type}: {text}\n");
        }
    }

    private string? LinkTo(string id)
    {
        if (id.StartsWith("T:", StringComparison.Ordinal))
        {
            string name = id[2..].Replace('`', '-').Replace('+', '.') + ".md";
            return _types.ContainsKey(name) ? name : null;
        }

        string owner = id[2..].Split('(')[0];
        owner = owner[..Math.Max(owner.LastIndexOf('.'), 0)].Replace('`', '-') + ".md";
        return _types.ContainsKey(owner) ? owner : null;
    }

    private static string Escape(string text) => text.Replace("<", "\\<", StringComparison.Ordinal).Replace(">", "\\>", StringComparison.Ordinal);

    private static string Cell(string text) => text.Replace("\n\n", " ", StringComparison.Ordinal).Replace('\n', ' ').Replace("|", "\\|", StringComparison.Ordinal);
}
