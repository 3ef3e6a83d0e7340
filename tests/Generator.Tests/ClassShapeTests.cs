using KernelGen.Generator.Tests.Infrastructure;
using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Tests;

/// <summary>Every shape of class that may be annotated gets code that compiles, whatever stands around it.</summary>
public sealed class ClassShapeTests
{
    /// <summary>Few variants: these tests are about declarations.</summary>
    private const string Attribute = "[Int8Kernel(CpuTileM = [2], CpuTileN = [16])]";

    public static TheoryData<string, string> Shapes() => new()
    {
        { "no namespace", "@ partial class Kernel;" },
        { "namespace block", "namespace A.B { @ internal partial class Kernel; }" },
        { "static", "@ static partial class Kernel;" },
        { "abstract", "@ abstract partial class Kernel;" },
        { "sealed", "@ sealed partial class Kernel;" },
        { "record", "@ partial record Kernel(int Value);" },
        { "record class", "@ sealed partial record class Kernel;" },
        { "primary constructor", "@ partial class Kernel(int value) { int Value => value; }" },
        { "in a class", "partial class Outer { @ private partial class Kernel; }" },
        { "in a static class", "static partial class Outer { @ public partial class Kernel; }" },
        { "in a struct", "partial struct Outer { @ internal partial class Kernel; }" },
        { "in a readonly struct", "readonly partial struct Outer { @ internal partial class Kernel; }" },
        { "in a ref struct", "ref partial struct Outer { @ internal partial class Kernel; }" },
        { "in a record", "partial record Outer { @ protected partial class Kernel; }" },
        { "in a record struct", "readonly partial record struct Outer(int Value) { @ internal partial class Kernel; }" },
        { "in an interface", "partial interface IOuter { @ partial class Kernel; }" },
        { "in all of them", "partial class A { partial struct B { partial interface C { partial record D { partial record struct E { @ partial class Kernel; } } } } }" },
        { "generic", "@ partial class Kernel<T>;" },
        { "generic with constraints", "@ partial class Kernel<T, U> where T : unmanaged, System.IComparable<T> where U : class?, new();" },
        { "nested in generics", "partial class Outer<T> where T : notnull { partial struct Middle<U> where U : struct { @ static partial class Kernel<V>; } }" },
        { "allows ref struct", "@ partial class Kernel<T> where T : allows ref struct;" },
        { "keyword name", "@ partial class @class;" },
        { "keyword type parameter", "@ partial class Kernel<@int>;" },
        { "keyword namespace", "namespace My.@namespace.@event { @ partial class Kernel; }" },
        { "keyword outer class", "partial class @public { @ partial class @static; }" },
        { "contextual keyword names", "namespace @where { partial class @partial<@scoped> { @ partial class @record<@await>; @ partial class @file; @ partial class @required; } }" },
        { "letters beyond ASCII", "namespace Gr\u00f6\u00dfe { @ partial class \u041c\u0430\u0442\u0440\u0438\u0446\u0430; }" },
        { "over several declarations", "@ partial class Kernel; partial class Kernel { int a; int A => a++; } partial class Kernel : System.IDisposable { public void Dispose() { } }" },
        { "other attributes", "[System.Obsolete(\"Old.\")] @ [System.Serializable] partial class Kernel;" },
        { "attribute written out", "[global::KernelGen.Int8KernelAttribute(CpuTileM = new int[] { 2 }, CpuTileN = new[] { 16 })] partial class Kernel;" },
        { "attribute by alias", "namespace A { using Short = KernelGen.Int8KernelAttribute; [Short(CpuTileM = [2])] partial class Kernel; }" },
        { "constants in the attribute", "@ partial class Kernel; [Int8Kernel(CpuTileM = [Sizes.M], OutlierThreshold = Sizes.Threshold)] partial class Other; static class Sizes { public const int M = 1 + 1; public const int Threshold = 5; }" },
    };

    public static TheoryData<string, string> Collisions() => new()
    {
        { "a namespace System", "namespace My { namespace System { class BitConverter; class MathF; } @ partial class Kernel; }" },
        { "a nested class System", "partial class Outer { class System; @ partial class Kernel; }" },
        { "a namespace KernelGen", "namespace My.KernelGen { class Int8KernelSet; class Kernels; @ partial class Kernel; }" },
        { "a nested class KernelGen", "partial class Outer { class KernelGen; @ partial class Kernel { class System; class Runtime; } }" },
        { "a member System", "@ partial class Kernel { static int System => 1; int KernelGen() => System; }" },
        { "types named like the vectors", "namespace My { class Vector128; class Vector256; class Vector512; class Avx2; class Unsafe; class Int8Spec; class CpuKernelFamily; @ partial class Kernel; }" },
        { "nested types named like generated ones", "@ partial class Kernel { class ScalarRows; class Vector256Rows; class Avx2Width16; class ScalarRowsKernels; class Families; }" },
        { "type parameters named like used types", "@ partial class Kernel<System, KernelGen, Vector256, Unsafe>;" },
        { "the runtime's namespace", "namespace KernelGen { @ partial class Kernel; }" },
        { "a namespace within the runtime's", "namespace KernelGen.Kernels { @ partial class Kernel; }" },
        { "a class named like its namespace", "namespace Kernel { @ partial class Kernel; }" },
        { "a base class with kernels", "@ partial class Base; @ partial class Derived : Base;" },
        { "a base class with the generated names", "class Base { public int Kernels => 1; public class CpuKernels; } @ partial class Derived : Base;" },
        { "names that differ in case alone", "namespace My { @ partial class Kernel; @ partial class KERNEL; @ partial class kErnel; } namespace my { @ partial class Kernel; }" },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    [MemberData(nameof(Collisions))]
    public async Task Generated_code_compiles(string shape, string source)
    {
        source = Annotate(source);
        int specs = source.Split("Int8Kernel(").Length + source.Split("Int8KernelAttribute(").Length + source.Split("[Short(").Length - 3;
        GeneratorRun run = GeneratorRun.Of($"#pragma warning disable CS0169, CS0649, CS8981 // {shape}\n{source}").AssertCompiles();
        Assert.Equal(2 * specs, run.Files.Count);
        Assert.Empty(await AnalyzerRun.Of(run.Output));
    }

    [Fact]
    public void A_class_over_several_files_gets_one_set_of_kernels()
    {
        GeneratorRun run = GeneratorRun.Of(
            "namespace My; partial class Kernel { static string Mine => Kernels.Name; }", Annotate("namespace My; @ partial class Kernel;"), "namespace My; partial class Kernel { int Two => 2; }");
        run.AssertCompiles();
        Assert.Equal(["My.Kernel.Cpu.g.cs", "My.Kernel.Kernels.g.cs"], run.Files.Keys);
    }

    [Fact]
    public void The_same_name_in_two_namespaces_is_two_specs()
    {
        GeneratorRun run = GeneratorRun.Of(Annotate("namespace A { @ partial class Kernel; } namespace B { [Int8Kernel(CpuTileM = [4], CpuTileN = [16])] partial class Kernel; }"));
        run.AssertCompiles();
        Assert.Equal(["A.Kernel.Cpu.g.cs", "A.Kernel.Kernels.g.cs", "B.Kernel.Cpu.g.cs", "B.Kernel.Kernels.g.cs"], run.Files.Keys);
        Assert.Contains("Gemm2x16", run.Files["A.Kernel.Cpu.g.cs"], StringComparison.Ordinal);
        Assert.DoesNotContain("Gemm4x16", run.Files["A.Kernel.Cpu.g.cs"], StringComparison.Ordinal);
        Assert.Contains("Gemm4x16", run.Files["B.Kernel.Cpu.g.cs"], StringComparison.Ordinal);
        Assert.DoesNotContain("Gemm2x16(", run.Files["B.Kernel.Cpu.g.cs"], StringComparison.Ordinal);
    }

    [Fact]
    public void A_namesake_of_the_attribute_means_nothing()
    {
        GeneratorRun run = GeneratorRun.Of("namespace My { class Int8KernelAttribute : System.Attribute; [Int8Kernel] partial class Kernel; }");
        run.AssertCompiles();
        Assert.Empty(run.Files);
    }

    [Fact]
    public void A_second_attribute_on_a_class_is_the_compilers_error_and_stops_no_other_spec()
    {
        GeneratorRun run = GeneratorRun.Of(Annotate("@ partial class Twice;"), Annotate("@ partial class Twice;"), Annotate("@ partial class Other;"));
        Assert.Contains("Other.Cpu.g.cs", run.Files.Keys);
        Assert.All(
            run.Output.GetDiagnostics().Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error),
            error => Assert.Equal("CS0579", error.Id));
    }

    [Theory]
    [InlineData("CpuTileM = [Nowhere], CpuTileN = [16]")]
    [InlineData("CpuTileM = [\"2\"]")]
    [InlineData("OutlierThreshold = \"6\"")]
    [InlineData("Outliers = OutlierPolicy.Nowhere")]
    public void An_argument_that_does_not_compile_is_the_compilers_error_alone(string arguments)
    {
        // Generated code from half an attribute would only bury the message that matters.
        GeneratorRun run = GeneratorRun.Of($"[Int8Kernel({arguments})] partial class Broken;", Annotate("@ partial class Other;"));
        Assert.Contains("Other.Cpu.g.cs", run.Files.Keys);
        Diagnostic error = Assert.Single(run.Output.GetDiagnostics(), diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        Assert.Equal("File0.cs", error.Location.SourceTree!.FilePath);
    }

    private static string Annotate(string source) => source.Replace("@ ", Attribute + " ", StringComparison.Ordinal);
}
