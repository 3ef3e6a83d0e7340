using KernelGen.Generator.Tests.Infrastructure;
using KernelGen.Tests;
using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Tests;

/// <summary>What the analyzer says, and where. Each expectation is the id, the marked source text and the whole message.</summary>
public sealed class DiagnosticTests
{
    private const string Threshold = "is not a threshold: use a positive, finite number (the paper uses 6), or Outliers = OutlierPolicy.None to have no outliers";

    public static TheoryData<string, string> InvalidSpecs() => new()
    {
        { "[Int8Kernel] class Kernel;", "KG0001 at `Kernel`: 'Kernel' must be declared partial, so that kernels can be generated into it" },
        { "[Int8Kernel] static class Kernel { }", "KG0001 at `Kernel`: 'Kernel' must be declared partial, so that kernels can be generated into it" },
        { "class Outer { [Int8Kernel] partial class Kernel; }", "KG0001 at `Outer`: 'Outer' must be declared partial, so that kernels can be generated into it" },
        { "struct A { partial class B { [Int8Kernel] partial class Kernel; } }", "KG0001 at `A`: 'A' must be declared partial, so that kernels can be generated into it" },
        { Spec("CpuTileM = [0]"), "KG0002 at `[0]`: CpuTileM = 0 is not a tile size: use a multiple of 1 from 1 to 16; the nearest is 1" },
        { Spec("CpuTileM = [-1]"), "KG0002 at `[-1]`: CpuTileM = -1 is not a tile size: use a multiple of 1 from 1 to 16; the nearest is 1" },
        { Spec("CpuTileM = [4, 17, 8]"), "KG0002 at `[4, 17, 8]`: CpuTileM = 17 is not a tile size: use a multiple of 1 from 1 to 16; the nearest is 16" },
        { Spec("CpuTileM = new[] { int.MinValue }"), "KG0002 at `new[] { int.MinValue }`: CpuTileM = -2147483648 is not a tile size: use a multiple of 1 from 1 to 16; the nearest is 1" },
        { Spec("CpuTileM = [int.MaxValue]"), "KG0002 at `[int.MaxValue]`: CpuTileM = 2147483647 is not a tile size: use a multiple of 1 from 1 to 16; the nearest is 16" },
        { Spec("CpuTileN = [0]"), "KG0002 at `[0]`: CpuTileN = 0 is not a tile size: use a multiple of 4 from 4 to 64; the nearest is 4" },
        { Spec("CpuTileN = [5]"), "KG0002 at `[5]`: CpuTileN = 5 is not a tile size: use a multiple of 4 from 4 to 64; the nearest is 4" },
        { Spec("CpuTileN = [15]"), "KG0002 at `[15]`: CpuTileN = 15 is not a tile size: use a multiple of 4 from 4 to 64; the nearest is 16" },
        { Spec("CpuTileN = [65]"), "KG0002 at `[65]`: CpuTileN = 65 is not a tile size: use a multiple of 4 from 4 to 64; the nearest is 64" },
        { Spec("CpuTileN = [-4]"), "KG0002 at `[-4]`: CpuTileN = -4 is not a tile size: use a multiple of 4 from 4 to 64; the nearest is 4" },
        { Spec("OutlierThreshold = 0"), $"KG0003 at `0`: OutlierThreshold = 0 {Threshold}" },
        { Spec("OutlierThreshold = -0f"), $"KG0003 at `-0f`: OutlierThreshold = -0 {Threshold}" },
        { Spec("OutlierThreshold = -6.5f"), $"KG0003 at `-6.5f`: OutlierThreshold = -6.5 {Threshold}" },
        { Spec("OutlierThreshold = float.NaN"), $"KG0003 at `float.NaN`: OutlierThreshold = NaN {Threshold}" },
        { Spec("OutlierThreshold = 1f / 0"), $"KG0003 at `1f / 0`: OutlierThreshold = Infinity {Threshold}" },
        { Spec("OutlierThreshold = float.NegativeInfinity"), $"KG0003 at `float.NegativeInfinity`: OutlierThreshold = -Infinity {Threshold}" },
        { Spec("Outliers = (OutlierPolicy)99"), "KG0005 at `(OutlierPolicy)99`: Outliers = 99 is not defined: use one of None, Columns, Elements, Fixed" },
        { Spec("Outliers = (OutlierPolicy)(-1)"), "KG0005 at `(OutlierPolicy)(-1)`: Outliers = -1 is not defined: use one of None, Columns, Elements, Fixed" },
        { Spec("Granularity = (QuantizationGranularity)3"), "KG0005 at `(QuantizationGranularity)3`: Granularity = 3 is not defined: use one of Tensor, Row, Vector" },
        { Spec("Activations = (ActivationQuantization)2"), "KG0005 at `(ActivationQuantization)2`: Activations = 2 is not defined: use one of Symmetric, ZeroPoint" },
        { Spec("Accumulation = (Accumulation)7"), "KG0005 at `(Accumulation)7`: Accumulation = 7 is not defined: use one of Int32, Int64" },
        { Spec("Targets = 0"), $"KG0005 at `0`: Targets = 0 is not defined: use one of {Targets}" },
        { Spec("Targets = (KernelTargets)(1 << 30)"), $"KG0005 at `(KernelTargets)(1 << 30)`: Targets = 1073741824 is not defined: use one of {Targets}" },
        { "[Int8Kernel] partial class Kernel { static int Kernels => 1; }", "KG0006 at `Kernels`: 'Kernel' uses the name 'Kernels', which a generated member must have: rename what has it" },
        { "[Int8Kernel] partial class Kernel { void CpuKernels() { } }", "KG0006 at `CpuKernels`: 'Kernel' uses the name 'CpuKernels', which a generated member must have: rename what has it" },
        { "[Int8Kernel] partial class Kernel { class IlgpuKernels; }", "KG0006 at `IlgpuKernels`: 'Kernel' uses the name 'IlgpuKernels', which a generated member must have: rename what has it" },
        { "[Int8Kernel] partial class Kernels;", "KG0006 at `Kernels`: 'Kernels' uses the name 'Kernels', which a generated member must have: rename what has it" },
        { "[Int8Kernel] partial class CpuKernels;", "KG0006 at `CpuKernels`: 'CpuKernels' uses the name 'CpuKernels', which a generated member must have: rename what has it" },
        { "[Int8Kernel] partial class Kernel<Kernels>;", "KG0006 at `Kernels`: 'Kernel' uses the name 'Kernels', which a generated member must have: rename what has it" },
        { "[Int8Kernel] file partial class Kernel;", "KG0007 at `Kernel`: 'Kernel' is local to its file, which generated code cannot extend: remove the file modifier" },
        { "file partial class Outer { [Int8Kernel] partial class Kernel; }", "KG0007 at `Outer`: 'Outer' is local to its file, which generated code cannot extend: remove the file modifier" },
        { Spec("CpuTileM = []"), "KG0008 at `[]`: CpuTileM is an empty list, which leaves no tile to generate: name at least one size, or leave it out for the curated tiles" },
        { Spec("CpuTileN = new int[0]"), "KG0008 at `new int[0]`: CpuTileN is an empty list, which leaves no tile to generate: name at least one size, or leave it out for the curated tiles" },
        { Heads("[100]"), $"KG0009 at `[100]`: HeadSizes has 100: {HeadSizes}" },
        { Heads("[64, 0, 128]"), $"KG0009 at `[64, 0, 128]`: HeadSizes has 0: {HeadSizes}" },
        { Heads("[-16]"), $"KG0009 at `[-16]`: HeadSizes has -16: {HeadSizes}" },
        { Heads("[144]"), $"KG0009 at `[144]`: HeadSizes has 144: {HeadSizes}" },
        { Heads("[]"), $"KG0009 at `[]`: HeadSizes has an empty list: {HeadSizes}" },
        { "[DecoderKernels] class Kernel;", "KG0001 at `Kernel`: 'Kernel' must be declared partial, so that kernels can be generated into it" },
        { "[DecoderKernels] partial class Kernel { int DecoderKernels; }", "KG0006 at `DecoderKernels`: 'Kernel' uses the name 'DecoderKernels', which a generated member must have: rename what has it" },
    };

    private const string Unused = "no activation is compared with it; leave it out, or choose OutlierPolicy.Columns or OutlierPolicy.Elements";

    private const string Unreachable = "leaves no outliers in half-precision activations, which end at 65504: use a lower one (the paper uses 6), or Outliers = OutlierPolicy.None to have no outliers";

    private const string Disposed = "KG0014 at `a`: 'a' is disposed before it is used here, which throws ObjectDisposedException: dispose it after its last use";

    private const string HeadSizes = "use widths that are multiples of 16 from 16 to 128, or leave the list out for those of the usual models";

    private static string Heads(string list) => $"[DecoderKernels(HeadSizes = {list})] static partial class Kernel;";

    private static string Targets => string.Join(", ", Enum.GetNames<KernelTargets>());

    [Theory]
    [MemberData(nameof(InvalidSpecs))]
    public async Task An_invalid_spec_is_reported_where_it_is_wrong_and_generates_nothing(string source, string expected)
    {
        GeneratorRun run = GeneratorRun.Of(source, "[Int8Kernel(CpuTileM = [2], CpuTileN = [16])] partial class Valid;");
        Diagnostic report = Assert.Single(await AnalyzerRun.Of(run.Output));
        Assert.Equal(expected, AnalyzerRun.Describe(report));
        Assert.Equal(DiagnosticSeverity.Error, report.Severity);
        Assert.Equal(["Valid.Cpu.g.cs", "Valid.Kernels.g.cs"], run.Files.Keys);
    }

    /// <summary>Code that builds, and runs into a surprise.</summary>
    public static TheoryData<string, string> Advice() => new()
    {
        { Spec("Outliers = OutlierPolicy.None, OutlierThreshold = 6"), $"KG0010 at `6`: OutlierThreshold = 6 has no effect: with OutlierPolicy.None {Unused}" },
        { Spec("OutlierThreshold = 2.5f, Outliers = OutlierPolicy.Fixed"), $"KG0010 at `2.5f`: OutlierThreshold = 2.5 has no effect: with OutlierPolicy.Fixed {Unused}" },
        { Spec("OutlierThreshold = 65505"), $"KG0011 at `65505`: OutlierThreshold = 65505 {Unreachable}" },
        { Spec("OutlierThreshold = float.MaxValue, Outliers = OutlierPolicy.Elements"), $"KG0011 at `float.MaxValue`: OutlierThreshold = 3.4028235E+38 {Unreachable}" },
        { Quantizes("Outliers = OutlierPolicy.Fixed", "8, 16"), MissingColumns("Kernels.Quantize<float>(w, 8, 16)") },
        { Quantizes("Outliers = OutlierPolicy.Fixed", "8, 16, null"), MissingColumns("Kernels.Quantize<float>(w, 8, 16, null)") },
        { Quantizes("Outliers = OutlierPolicy.Fixed", "8, 16, new() { MaxDegreeOfParallelism = 1 }"), MissingColumns("Kernels.Quantize<float>(w, 8, 16, new() { MaxDegreeOfParallelism = 1 })") },
        { Quantizes("", "8, 133145"), "KG0013 at `133145`: inputFeatures = 133145 could overflow the 32-bit sums of 'Kernel', which take 133144 at most, so Quantize throws: set Accumulation = Accumulation.Int64" },
        { Quantizes("Activations = ActivationQuantization.ZeroPoint", "inputFeatures: 2 * 33287, outputFeatures: 8"), "KG0013 at `2 * 33287`: inputFeatures = 66574 could overflow the 32-bit sums of 'Kernel', which take 66572 at most, so Quantize throws: set Accumulation = Accumulation.Int64" },
        { Uses("Int8Weights a = Of(); a.Dispose(); int n = a.OutputFeatures;"), Disposed },
        { Uses("Int8Weights a = Of(); { } a.Dispose(); a.Dispose(); if (a.Name != null) { }"), Disposed },
        { Uses("Int8Weights F() { using Int8Weights a = Of(); return a; } F();"), Disposed },
        { Uses("Int8Weights F() { using (Int8Weights a = Of()) { return a; } } F();"), Disposed },
    };

    [Theory]
    [MemberData(nameof(Advice))]
    public async Task What_can_only_surprise_is_a_warning_and_generates_all_the_same(string source, string expected)
    {
        GeneratorRun run = GeneratorRun.Of(source);
        Diagnostic report = Assert.Single(await AnalyzerRun.Of(run.Output));
        Assert.Equal(expected, AnalyzerRun.Describe(report));
        Assert.Equal(DiagnosticSeverity.Warning, report.DefaultSeverity);
        Assert.Equal(["Kernel.Cpu.g.cs", "Kernel.Kernels.g.cs"], run.Files.Keys);
    }

    public static TheoryData<string> RightUses() => new()
    {
        { Quantizes("Outliers = OutlierPolicy.Fixed", "8, 16, new() { FixedOutlierColumns = [3] }") },
        { Quantizes("Outliers = OutlierPolicy.Fixed", "8, 16, Options()") },
        { Quantizes("", "8, 133144") },
        { Quantizes("Accumulation = Accumulation.Int64", "8, 200000") },
        { Uses("Int8Weights a = Of(); a.Dispose(); a = Of(); int n = a.OutputFeatures;") },
        { Uses("Int8Weights a = Of(); int n = a.OutputFeatures; a.Dispose();") },
        { Uses("using Int8Weights a = Of(); int n = a.OutputFeatures;") },
        { Uses("Int8Weights a = Of(), b = Of(); a.Dispose(); int n = b.OutputFeatures;") },
        { Uses("if (Of() is { } a) { a.Dispose(); }") },
    };

    [Theory]
    [MemberData(nameof(RightUses))]
    public async Task Right_uses_are_not_reported(string source) => Assert.Empty(await AnalyzerRun.Of(GeneratorRun.Of(source).Output));

    [Fact]
    public void Every_rule_is_tested_here()
    {
        string[] tested = [.. InvalidSpecs().Concat(Advice()).Select(row => ((string)((object[])row)[1])[..6]).Append("KG0004").Append("KG0015").Distinct().Order(StringComparer.Ordinal)];
        Assert.Equal(AnalyzerRun.Rules.Select(rule => rule.Id).Order(StringComparer.Ordinal), tested);
    }

    [Theory]
    [InlineData("")]
    [InlineData("CpuTileM = null, CpuTileN = null")]
    [InlineData("CpuTileM = [1, 4], CpuTileN = [16, 32]")]
    [InlineData("OutlierThreshold = float.Epsilon")]
    [InlineData("OutlierThreshold = 65504, Outliers = OutlierPolicy.Elements")]
    [InlineData("Outliers = OutlierPolicy.None")]
    [InlineData("Outliers = OutlierPolicy.Fixed")]
    [InlineData("Targets = KernelTargets.All, Granularity = QuantizationGranularity.Row, Accumulation = Accumulation.Int64, Activations = ActivationQuantization.ZeroPoint")]
    public async Task A_valid_spec_is_not_reported(string arguments)
    {
        string source = Spec(arguments);
        Assert.Empty(await AnalyzerRun.Of(UserProject.Create(source)));

        // Nor when what was generated for it is there.
        Assert.Empty(await AnalyzerRun.Of(GeneratorRun.Of(source).AssertCompiles().Output));
    }

    [Fact]
    public async Task The_default_specs_are_not_reported() =>
        Assert.Empty(await AnalyzerRun.Of(UserProject.Create(File.ReadAllText(Path.Combine(RepositoryPaths.Root, "src", "Kernels.Specs", "Schemes.cs")))));

    [Fact]
    public async Task Code_that_is_not_annotated_is_not_reported() =>
        Assert.Empty(await AnalyzerRun.Of(UserProject.Create("class Kernel { int Kernels => 1; } file class CpuKernels;")));

    [Fact]
    public async Task Every_problem_of_a_spec_is_reported_at_once()
    {
        CompilationReports reports = await CompilationReports.Of(
            "class Outer { [Int8Kernel(OutlierThreshold = -1, CpuTileM = [0, 17], CpuTileN = [], Outliers = (OutlierPolicy)9)] class Kernel { int Kernels; } }");
        Assert.Equal(["KG0001", "KG0003", "KG0002", "KG0002", "KG0008", "KG0005", "KG0001", "KG0006"], reports.Ids);
    }

    [Fact]
    public async Task Problems_of_one_spec_do_not_silence_another()
    {
        CompilationReports reports = await CompilationReports.Of(
            "[Int8Kernel] class First;", "[Int8Kernel] partial class Second;", Spec("CpuTileM = [99]"), "[Int8Kernel] class Fourth;");
        Assert.Equal(["KG0001", "KG0002", "KG0001"], reports.Ids);
        Assert.Equal(["File0.cs", "File2.cs", "File3.cs"], reports.Files);
    }

    [Fact]
    public async Task A_report_points_at_the_declaration_that_has_the_attribute()
    {
        CompilationReports reports = await CompilationReports.Of(
            "partial class Kernel;", "[Int8Kernel(CpuTileM = [2], CpuTileN = [4])] partial class Kernel { }", "partial class Kernel;");
        Assert.All(reports.Files, file => Assert.Equal("File1.cs", file));
        Assert.NotEmpty(reports.Ids);
    }

    [Fact]
    public async Task A_list_that_leaves_an_instruction_set_nothing_is_information_and_its_curated_tiles_are_generated()
    {
        GeneratorRun run = GeneratorRun.Of(Spec("CpuTileM = [2], CpuTileN = [8]")).AssertCompiles();
        Diagnostic[] reports = [.. await AnalyzerRun.Of(run.Output)];
        Assert.Equal(
            [.. new[] { "avx512", "avx512vnni", "amx" }.Select(name => $"KG0004 at `Kernel`: No tile of 'Kernel' fits the registers of {name}; its curated tiles are generated instead")],
            reports.Select(AnalyzerRun.Describe));
        Assert.All(reports, report => Assert.Equal(DiagnosticSeverity.Info, report.Severity));

        string code = run.Files["Kernel.Cpu.g.cs"];
        Assert.Contains("int8_gemm_s8_s32_12x32c2_avx512", code, StringComparison.Ordinal);
        Assert.Contains("int8_gemm_s8_s32_2x8c2_avx2", code, StringComparison.Ordinal);
        Assert.DoesNotContain("12x32c2_avx2\"", code, StringComparison.Ordinal);
        Assert.Contains(
            "new(\"int8_gemm_s8_s32_2x8c2_avx512\", \"NR = 8 is not a multiple of the 16 int32 lanes of a 512-bit vector\")",
            run.Files["Kernel.Kernels.g.cs"],
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_instruction_set_that_is_left_nothing_is_named()
    {
        Diagnostic[] reports = [.. await AnalyzerRun.Of(UserProject.Create(Spec("CpuTileM = [16], CpuTileN = [64]")))];
        Assert.All(reports, report => Assert.Equal("KG0004", report.Id));
        Assert.Equal(
            ["amx", "armdp", "avx2", "avx512", "avx512vnni", "avxvnni"],
            reports.Select(report => report.GetMessage(null).Split(' ').Single(word => word.EndsWith(';')).TrimEnd(';')).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("KernelTargets.Ilgpu")]
    [InlineData("KernelTargets.Cpu | KernelTargets.Ilgpu")]
    public async Task ILGPU_kernels_for_a_project_without_ILGPU_are_information_and_the_rest_is_generated(string targets)
    {
        string source = Spec($"Targets = {targets}");
        GeneratorRun run = GeneratorRun.Of(source).AssertCompiles();
        Diagnostic report = Assert.Single(await AnalyzerRun.Of(run.Output));
        Assert.Equal("KG0015 at `Kernel`: 'Kernel' asks for ILGPU kernels, but the project does not reference ILGPU: none are generated", AnalyzerRun.Describe(report));
        Assert.Equal(DiagnosticSeverity.Info, report.Severity);
        Assert.Equal(["Kernel.Cpu.g.cs", "Kernel.Kernels.g.cs"], run.Files.Keys);

        Assert.Empty(await AnalyzerRun.Of(UserProject.CreateWithIlgpu(source)));
    }

    private static string MissingColumns(string call) =>
        $"KG0012 at `{call}`: 'Kernel' has OutlierPolicy.Fixed, so Quantize needs calibrated columns and throws without: set WeightQuantizationOptions.FixedOutlierColumns";

    private static string Quantizes(string spec, string arguments) =>
        $"[Int8Kernel({spec})] static partial class Kernel {{ static Int8Weights Of(float[] w) => Kernels.Quantize<float>(w, {arguments}); static WeightQuantizationOptions Options() => new(); }}";

    private static string Uses(string statements) =>
        $"[Int8Kernel] static partial class Kernel {{ static Int8Weights Of() => Kernels.Quantize<float>(new float[4], 1, 4); static void Use() {{ {statements} }} }}";

    private static string Spec(string arguments) => $"[Int8Kernel({arguments})] static partial class Kernel;";

    /// <summary>The ids and files of the analyzer's reports, by place.</summary>
    private sealed record CompilationReports(string[] Ids, string[] Files)
    {
        public static async Task<CompilationReports> Of(params string[] sources)
        {
            Diagnostic[] reports = [.. await AnalyzerRun.Of(UserProject.Create(sources))];
            return new([.. reports.Select(report => report.Id)], [.. reports.Select(report => report.Location.SourceTree!.FilePath)]);
        }
    }
}
