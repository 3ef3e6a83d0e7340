using System.Xml.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace KernelGen.Api.Tests;

/// <summary>Every public member of the packaged assemblies has an entry in the documentation that travels with them.</summary>
public sealed class DocumentationTests
{
    public static TheoryData<string> Names() => PublicApiTests.Names();

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_public_member_is_documented(string name)
    {
        string path = PublicApiTests.Packaged.Single(assembly => assembly.GetName().Name == name).Location;
        Dictionary<string, XElement> documented = XDocument.Load(Path.ChangeExtension(path, ".xml")).Descendants("member")
            .ToDictionary(static member => member.Attribute("name")!.Value);
        ISymbol[] members = [.. Members(path)];
        Assert.True(members.Length > 10, $"{name} has {members.Length} public members.");
        Assert.Empty(members.Where(member => !IsDocumented(member, documented)).Select(static member => member.GetDocumentationCommentId()));
    }

    private static bool IsDocumented(ISymbol member, Dictionary<string, XElement> documented) =>
        documented.TryGetValue(member.GetDocumentationCommentId()!, out XElement? entry)
            ? entry.HasElements

            // A record's properties are described with its parameters.
            : member is IPropertySymbol { ContainingType: { IsRecord: true } record }
                && documented.TryGetValue(record.GetDocumentationCommentId()!, out XElement? type)
                && type.Elements("param").Any(parameter => parameter.Attribute("name")!.Value == member.Name && !string.IsNullOrWhiteSpace(parameter.Value));

    private static IEnumerable<ISymbol> Members(string path)
    {
        string[] platform = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator);
        PortableExecutableReference own = MetadataReference.CreateFromFile(path);
        CSharpCompilation compilation = CSharpCompilation.Create(
            "Members", references: [own, .. platform.Where(other => other != path).Select(static other => MetadataReference.CreateFromFile(other))]);
        return Types(((IAssemblySymbol)compilation.GetAssemblyOrModuleSymbol(own)!).GlobalNamespace)
            .SelectMany(static type => type.TypeKind == TypeKind.Delegate ? [type] : type.GetMembers().Where(IsOffered).Prepend(type));
    }

    private static IEnumerable<INamedTypeSymbol> Types(INamespaceOrTypeSymbol container) => container.GetMembers().OfType<INamespaceOrTypeSymbol>()
        .Where(static member => member is INamespaceSymbol || member.DeclaredAccessibility is Accessibility.Public or Accessibility.Protected)
        .SelectMany(static member => member is INamedTypeSymbol type ? Types(type).Prepend(type) : Types(member));

    /// <summary>Written by hand, and to be seen: accessors belong to their properties, types come by themselves, a class without a constructor has the empty one.</summary>
    private static bool IsOffered(ISymbol member) =>
        member.DeclaredAccessibility is Accessibility.Public or Accessibility.Protected or Accessibility.ProtectedOrInternal
        && member is not INamedTypeSymbol
        && member is not IMethodSymbol { AssociatedSymbol: not null }
        && member is not IMethodSymbol { MethodKind: MethodKind.Constructor, Parameters.Length: 0 }
        && !(member is IMethodSymbol { MethodKind: MethodKind.Constructor } && member.ContainingType.IsRecord)
        && !member.GetAttributes().Any(static attribute => attribute.AttributeClass?.Name is "CompilerGeneratedAttribute")
        && !(member is IFieldSymbol { Name: "value__" });
}
