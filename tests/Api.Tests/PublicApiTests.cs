using System.Reflection;
using KernelGen.Inference.Transformers;
using KernelGen.Kernels.Specs;
using KernelGen.Tests;
using PublicApiGenerator;

namespace KernelGen.Api.Tests;

/// <summary>
/// What the packaged assemblies offer, one text each: a change of it shows in review. <c>KernelGen.Kernels.Specs</c> shows what the generator adds to
/// an annotated class.
/// </summary>
public sealed class PublicApiTests
{
    internal static readonly Assembly[] Packaged = [typeof(Int8KernelSet).Assembly, typeof(TransformerModel).Assembly, typeof(LlmInt8).Assembly];

    private static readonly ApiGeneratorOptions Options = new()
    {
        IncludeAssemblyAttributes = false,

        // Without a meaning for who calls.
        ExcludeAttributes =
        [
            "System.CodeDom.Compiler.GeneratedCodeAttribute",
            "System.Diagnostics.DebuggerDisplayAttribute",
            "System.Runtime.CompilerServices.SkipLocalsInitAttribute",
        ],
    };

    public static TheoryData<string> Names() => [.. Packaged.Select(static assembly => assembly.GetName().Name!)];

    [Theory]
    [MemberData(nameof(Names))]
    public void The_public_api_is_the_recorded_one(string name)
    {
        Assembly assembly = Packaged.Single(assembly => assembly.GetName().Name == name);
        Snapshot.Of("Api.Tests").Verify(name, "txt", assembly.GeneratePublicApi(Options).ReplaceLineEndings("\n") + "\n");
    }

    [Fact]
    public void Every_recorded_api_is_of_a_packaged_assembly()
    {
        string[] files = [.. Directory.GetFiles(Path.Combine(RepositoryPaths.Root, "tests", "Api.Tests", "Snapshots"), "*.verified.*")
            .Select(static path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];
        Assert.Equal(Packaged.Select(static assembly => $"{assembly.GetName().Name}.verified.txt").Order(StringComparer.Ordinal), files);
    }
}
