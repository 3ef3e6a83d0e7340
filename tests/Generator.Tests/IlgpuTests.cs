using System.Globalization;
using KernelGen.Generator.Tests.Infrastructure;
using KernelGen.Tests;
using Microsoft.CodeAnalysis.CSharp;

namespace KernelGen.Generator.Tests;

/// <summary>The ILGPU target, without the package: what is emitted when, and that it compiles against the members that the package has.</summary>
public sealed class IlgpuTests
{
    /// <summary>All policies with both quantizations, every granularity.</summary>
    public static TheoryData<string> Settings()
    {
        TheoryData<string> settings = [];
        foreach (OutlierPolicy outliers in Enum.GetValues<OutlierPolicy>())
        {
            foreach (ActivationQuantization activations in Enum.GetValues<ActivationQuantization>())
            {
                foreach (QuantizationGranularity granularity in Enum.GetValues<QuantizationGranularity>())
                {
                    settings.Add($"Outliers = OutlierPolicy.{outliers}, Activations = ActivationQuantization.{activations}, Granularity = QuantizationGranularity.{granularity}");
                }
            }
        }

        return settings;
    }

    [Theory]
    [MemberData(nameof(Settings))]
    public void Every_setting_compiles_against_the_members_of_ILGPU(string arguments)
    {
        foreach (bool checks in new[] { false, true })
        {
            CSharpCompilation project = UserProject.CreateWithIlgpu($"[Int8Kernel({arguments}, Targets = KernelTargets.Ilgpu)] static partial class Kernel;");
            GeneratorRun run = GeneratorRun.Of(project.WithOptions(project.Options.WithOverflowChecks(checks))).AssertCompiles();
            Assert.Equal(["Kernel.Cpu.g.cs", "Kernel.Ilgpu.g.cs", "Kernel.Kernels.g.cs"], run.Files.Keys);
            Assert.Contains("ilgpu: IlgpuKernels.Variants);", run.Files["Kernel.Kernels.g.cs"], StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_nested_generic_class_compiles_whatever_its_neighbours_are_called()
    {
        const string Source = """
            namespace My.ILGPU
            {
                class Group; class Grid; class Atomic; class Math; class CudaAsm; class ArrayView<T>; class SharedMemory;
                partial class Outer<T>
                {
                    class BitConverter; class IlgpuGemmShape;
                    [Int8Kernel(Outliers = OutlierPolicy.Elements, Targets = KernelTargets.All)] partial class Inner<U>;
                }
            }
            """;
        GeneratorRun run = GeneratorRun.Of(UserProject.CreateWithIlgpu(Source)).AssertCompiles();
        Assert.Contains("My.ILGPU.Outer`1+Inner`1.Ilgpu.g.cs", run.Files.Keys);
    }

    [Fact]
    public void The_stand_in_has_no_member_that_generated_code_does_not_use()
    {
        List<string> files = [];
        foreach (string arguments in Settings())
        {
            CSharpCompilation project = UserProject.CreateWithIlgpu($"[Int8Kernel({arguments}, Targets = KernelTargets.Ilgpu)] static partial class Kernel;");
            files.Add(GeneratorRun.Of(project).Files["Kernel.Ilgpu.g.cs"]);
        }

        foreach (string member in new[] { "Grid.IdxX", "Group.IdxX", "Group.Barrier()", "SharedMemory.Allocate<int>", "Atomic.Max(ref", "Atomic.Or(ref", ".Cast<short>()", "CudaAsm.IsSupported", "CudaAsm.Emit(" })
        {
            Assert.Contains(files, file => file.Contains(member, StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("Targets = KernelTargets.Cpu")]
    [InlineData("Targets = KernelTargets.Cpu | KernelTargets.Cuda")]
    public void A_spec_that_does_not_ask_for_them_has_no_ILGPU_kernels(string arguments)
    {
        GeneratorRun run = GeneratorRun.Of(UserProject.CreateWithIlgpu($"[Int8Kernel({arguments})] static partial class Kernel;")).AssertCompiles();
        Assert.DoesNotContain("Kernel.Ilgpu.g.cs", run.Files.Keys);
        Assert.DoesNotContain("ilgpu", run.Files["Kernel.Kernels.g.cs"], StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void A_spec_of_all_targets_has_ILGPU_kernels_where_the_library_is()
    {
        const string Source = "[Int8Kernel(Targets = KernelTargets.All)] static partial class Kernel;";
        Assert.Equal(["Kernel.Cpu.g.cs", "Kernel.Cuda.g.cs", "Kernel.Kernels.g.cs"], GeneratorRun.Of(Source).AssertCompiles().Files.Keys);
        Assert.Contains("Kernel.Ilgpu.g.cs", GeneratorRun.Of(UserProject.CreateWithIlgpu(Source)).AssertCompiles().Files.Keys);
    }

    [Fact]
    public void Sums_of_64_bits_are_dropped_with_a_reason()
    {
        GeneratorRun run = GeneratorRun.Of(UserProject.CreateWithIlgpu("[Int8Kernel(Accumulation = Accumulation.Int64, Targets = KernelTargets.Ilgpu)] static partial class Kernel;")).AssertCompiles();
        Assert.DoesNotContain("Kernel.Ilgpu.g.cs", run.Files.Keys);
        Assert.Contains(
            "new(\"int8_gemm_*_ilgpu\", \"ILGPU kernels sum in 32 bits; a class with Accumulation.Int64 multiplies on the processor\")",
            run.Files["Kernel.Kernels.g.cs"],
            StringComparison.Ordinal);
    }

    [Fact]
    public void The_output_is_the_same_under_a_culture_that_writes_numbers_otherwise()
    {
        const string Source = "[Int8Kernel(OutlierThreshold = 2.5f, Outliers = OutlierPolicy.Elements, Targets = KernelTargets.Ilgpu)] static partial class Kernel;";
        string invariant = GeneratorRun.Of(UserProject.CreateWithIlgpu(Source)).Files["Kernel.Ilgpu.g.cs"];
        CultureInfo culture = (CultureInfo)CultureInfo.InvariantCulture.Clone(), before = CultureInfo.CurrentCulture;
        culture.NumberFormat.NegativeSign = "\u2212";
        culture.NumberFormat.NumberDecimalSeparator = ",";
        try
        {
            CultureInfo.CurrentCulture = culture;
            Assert.Equal(invariant, GeneratorRun.Of(UserProject.CreateWithIlgpu(Source)).Files["Kernel.Ilgpu.g.cs"]);
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }

        Assert.DoesNotContain('\r', invariant);
        Assert.DoesNotContain(" \n", invariant, StringComparison.Ordinal);
        Assert.All(invariant, character => Assert.InRange(character, '\n', '~'));
    }

    [Fact]
    public void The_generated_file_is_the_verified_one()
    {
        GeneratorRun run = GeneratorRun.Of(UserProject.CreateWithIlgpu("""
            namespace Small;

            [Int8Kernel(Outliers = OutlierPolicy.Elements, Activations = ActivationQuantization.ZeroPoint, Targets = KernelTargets.Ilgpu)]
            internal static partial class Gpu;
            """)).AssertCompiles();
        Snapshot.Of("Generator.Tests").Verify("Small.Gpu.Ilgpu", "cs", run.Files["Small.Gpu.Ilgpu.g.cs"]);
    }
}
