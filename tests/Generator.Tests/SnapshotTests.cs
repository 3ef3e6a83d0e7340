using KernelGen.Generator.Tests.Infrastructure;
using KernelGen.Tests;

namespace KernelGen.Generator.Tests;

/// <summary>Complete output of two small specs, so that a change of an emitter shows as a change of code.</summary>
public sealed class SnapshotTests
{
    /// <summary>No outliers, symmetric: the least that a spec generates.</summary>
    private const string Plain = """
        namespace Small;

        [Int8Kernel(Outliers = OutlierPolicy.None, CpuTileM = [2], CpuTileN = [16])]
        internal static partial class Plain;
        """;

    /// <summary>Everything that adds code, in a nested generic class; NR = 4 and 8 leave a dropped combination for most instruction sets.</summary>
    private const string Rich = """
        namespace Small;

        internal partial class Outer<T>
        {
            [Int8Kernel(
                Outliers = OutlierPolicy.Elements,
                OutlierThreshold = 2.5f,
                Activations = ActivationQuantization.ZeroPoint,
                Accumulation = Accumulation.Int64,
                CpuTileM = [1],
                CpuTileN = [8])]
            internal static partial class Rich;
        }
        """;

    [Theory]
    [InlineData("Small.Plain.Kernels", Plain)]
    [InlineData("Small.Plain.Cpu", Plain)]
    [InlineData("Small.Outer`1+Rich.Kernels", Rich)]
    [InlineData("Small.Outer`1+Rich.Cpu", Rich)]
    public void The_generated_file_is_the_verified_one(string name, string source)
    {
        GeneratorRun run = GeneratorRun.Of(source).AssertCompiles();
        Snapshot.Of("Generator.Tests").Verify(name.Replace('`', '-'), "cs", run.Files[$"{name}.g.cs"]);
    }

    [Fact]
    public void Every_snapshot_belongs_to_a_test()
    {
        string[] files = [.. Directory.GetFiles(Path.Combine(RepositoryPaths.Root, "tests", "Generator.Tests", "Snapshots"), "*.verified.*")
            .Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];
        Assert.Equal(
            ["Small.Gpu.Ilgpu.verified.cs", "Small.Outer-1+Rich.Cpu.verified.cs", "Small.Outer-1+Rich.Kernels.verified.cs", "Small.Plain.Cpu.verified.cs", "Small.Plain.Kernels.verified.cs"],
            files);
    }
}
