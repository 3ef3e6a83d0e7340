using KernelGen.Tests;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Xunit;

namespace KernelGen.Ilgpu.Tests;

/// <summary>The declarations that stand for ILGPU where the package is missing are those of the package.</summary>
public sealed class StandInTests
{
    private static readonly MetadataReference[] Framework =
        [.. Directory.EnumerateFiles(Path.GetDirectoryName(typeof(object).Assembly.Location)!, "System*.dll")
            .Where(path => !path.Contains(".Native.", StringComparison.Ordinal))
            .Select(path => MetadataReference.CreateFromFile(path))];

    private static readonly SymbolDisplayFormat Signature = new(
        globalNamespaceStyle: SymbolDisplayGlobalNamespaceStyle.Included,
        typeQualificationStyle: SymbolDisplayTypeQualificationStyle.NameAndContainingTypesAndNamespaces,
        genericsOptions: SymbolDisplayGenericsOptions.IncludeTypeParameters | SymbolDisplayGenericsOptions.IncludeTypeConstraints,
        memberOptions: SymbolDisplayMemberOptions.IncludeType | SymbolDisplayMemberOptions.IncludeModifiers | SymbolDisplayMemberOptions.IncludeParameters
            | SymbolDisplayMemberOptions.IncludeContainingType | SymbolDisplayMemberOptions.IncludeRef | SymbolDisplayMemberOptions.IncludeAccessibility,
        parameterOptions: SymbolDisplayParameterOptions.IncludeParamsRefOut | SymbolDisplayParameterOptions.IncludeType | SymbolDisplayParameterOptions.IncludeName,
        propertyStyle: SymbolDisplayPropertyStyle.NameOnly,
        kindOptions: SymbolDisplayKindOptions.IncludeTypeKeyword);

    [Fact]
    public void Every_member_of_the_stand_in_exists_in_the_package_with_the_same_signature()
    {
        string path = Path.Combine(RepositoryPaths.Root, "tests", "Generator.Tests", "StandIns", "ILGPU.cs");
        CSharpCompilation standIn = CSharpCompilation.Create(
            "StandIn", [CSharpSyntaxTree.ParseText(File.ReadAllText(path), path: path)], Framework, new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary));
        CSharpCompilation real = CSharpCompilation.Create(
            "Real", [], [.. Framework, MetadataReference.CreateFromFile(typeof(ILGPU.Index1D).Assembly.Location)]);
        List<string> missing = [];
        int compared = 0;
        foreach (INamedTypeSymbol type in Types(standIn.Assembly.GlobalNamespace))
        {
            string name = string.Join(".", Namespaces(type).Append(type.MetadataName));
            INamedTypeSymbol? package = real.GetTypeByMetadataName(name);
            if (package is null || package.TypeKind != type.TypeKind || package.IsStatic != type.IsStatic || package.IsReadOnly != type.IsReadOnly && type.IsReadOnly)
            {
                missing.Add(name);
                continue;
            }

            HashSet<string> signatures = [.. package.GetMembers().Where(member => member.DeclaredAccessibility == Accessibility.Public).Select(Describe)];
            foreach (ISymbol member in type.GetMembers().Where(member => !member.IsImplicitlyDeclared && member is not IMethodSymbol { AssociatedSymbol: not null }))
            {
                compared++;
                if (!signatures.Contains(Describe(member)))
                {
                    missing.Add(Describe(member));
                }
            }
        }

        Assert.True(missing.Count == 0, string.Join(Environment.NewLine, missing));
        Assert.True(compared >= 17, $"only {compared} members were compared");
    }

    /// <summary>Readonly is the compiler's promise about this, not part of what a caller sees.</summary>
    private static string Describe(ISymbol member) => member.ToDisplayString(Signature).Replace("readonly ", "", StringComparison.Ordinal);

    private static IEnumerable<INamedTypeSymbol> Types(INamespaceSymbol parent) =>
        parent.GetTypeMembers().Concat(parent.GetNamespaceMembers().SelectMany(Types));

    private static Stack<string> Namespaces(INamedTypeSymbol type)
    {
        Stack<string> names = new();
        for (INamespaceSymbol parent = type.ContainingNamespace; !parent.IsGlobalNamespace; parent = parent.ContainingNamespace)
        {
            names.Push(parent.Name);
        }

        return names;
    }
}
