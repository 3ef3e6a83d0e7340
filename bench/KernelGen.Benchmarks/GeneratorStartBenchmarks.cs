using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Engines;
using Microsoft.CodeAnalysis;

namespace KernelGen.Benchmarks;

/// <summary>The very first run in a process, as in a build without a compiler server: what is measured is mostly just-in-time compilation.</summary>
[SimpleJob(RunStrategy.ColdStart, launchCount: 5, warmupCount: 0, iterationCount: 1)]
public class GeneratorStartBenchmarks
{
    private readonly SpecProject project = new();

    /// <summary>Every default spec in a new process.</summary>
    [Benchmark(Description = "all default specs, new process")]
    public GeneratorDriver First() => SpecProject.NewDriver().RunGenerators(project.Original);
}
