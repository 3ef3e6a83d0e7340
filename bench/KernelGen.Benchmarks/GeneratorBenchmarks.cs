using BenchmarkDotNet.Attributes;
using Microsoft.CodeAnalysis;

namespace KernelGen.Benchmarks;

/// <summary>What the generator costs in a running compiler: for all default specs, and at an edit. Symbols are bound anew each time, as after an edit.</summary>
[MemoryDiagnoser]
public class GeneratorBenchmarks
{
    private readonly SpecProject project = new();

    private GeneratorDriver warm = null!;

    /// <summary>A driver that has run once.</summary>
    [GlobalSetup]
    public void Setup()
    {
        warm = SpecProject.NewDriver().RunGenerators(project.Original);
        if (warm.GetRunResult().GeneratedTrees.IsEmpty)
        {
            throw new InvalidOperationException("Nothing was generated, so there is nothing to measure.");
        }
    }

    /// <summary>Every default spec, nothing cached.</summary>
    [Benchmark(Description = "all default specs")]
    public GeneratorDriver All() => SpecProject.NewDriver().RunGenerators(project.Original.Clone());

    /// <summary>One spec was edited.</summary>
    [Benchmark(Description = "edit of one spec")]
    public GeneratorDriver SpecEdit() => warm.RunGenerators(project.SpecEdited.Clone());

    /// <summary>A file without a spec was edited.</summary>
    [Benchmark(Description = "edit in another file")]
    public GeneratorDriver OtherEdit() => warm.RunGenerators(project.OtherEdited.Clone());
}
