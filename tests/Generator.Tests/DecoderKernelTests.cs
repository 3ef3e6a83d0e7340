using System.Globalization;
using System.Text.RegularExpressions;
using KernelGen.Generator.Emit.Cuda.Decoder;
using KernelGen.Generator.Planning.Cuda;
using KernelGen.Generator.Tests.Infrastructure;
using Microsoft.CodeAnalysis;

namespace KernelGen.Generator.Tests;

/// <summary>What a class with [DecoderKernels] gets, and the PTX in it as text. Whether it computes what it should, the GPU suite tells.</summary>
public sealed partial class DecoderKernelTests
{
    private const string Source = "[DecoderKernels(HeadSizes = [32, 16])] internal static partial class Kernel;";

    private static readonly IReadOnlyList<DecoderKernelPlan> Plans = DecoderPlanner.Plan([16, 80, 128]);

    public static TheoryData<string> Names() => [.. Plans.Select(plan => plan.Name)];

    [Fact]
    public void A_class_gets_kernels_for_its_heads_in_one_file_that_compiles()
    {
        GeneratorRun run = GeneratorRun.Of(Source).AssertCompiles();
        Assert.Equal(["Kernel.Decoder.g.cs"], run.Files.Keys);
        string code = run.Files["Kernel.Decoder.g.cs"];
        Assert.Contains("new[] { 16, 32 }", code, StringComparison.Ordinal);
        Assert.Contains("attention_decode_d16_q1_sm80", code, StringComparison.Ordinal);
        Assert.Contains("attention_prefill_d32_128x64_sm90", code, StringComparison.Ordinal);
        Assert.Contains("attention_prefill_d32_128x64_wgmma_sm90a", code, StringComparison.Ordinal);
        Assert.DoesNotContain("_d64_", code, StringComparison.Ordinal);
    }

    [Fact]
    public void A_class_without_a_list_gets_the_heads_of_the_usual_models() =>
        Assert.Contains("new[] { 64, 80, 96, 128 }", GeneratorRun.Of("[DecoderKernels] partial class Kernel;").AssertCompiles().Files["Kernel.Decoder.g.cs"], StringComparison.Ordinal);

    [Fact]
    public void A_class_may_have_both_kinds_of_kernels()
    {
        GeneratorRun run = GeneratorRun.Of("[Int8Kernel(CpuTileM = [2], CpuTileN = [16])] [DecoderKernels(HeadSizes = [16])] partial class Kernel;").AssertCompiles();
        Assert.Equal(["Kernel.Cpu.g.cs", "Kernel.Decoder.g.cs", "Kernel.Kernels.g.cs"], run.Files.Keys);
    }

    [Fact]
    public void The_text_is_the_same_under_a_culture_that_writes_numbers_otherwise()
    {
        string invariant = GeneratorRun.Of(Source).Files["Kernel.Decoder.g.cs"];
        CultureInfo culture = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        culture.NumberFormat.NegativeSign = "\u2212";
        culture.NumberFormat.NumberDecimalSeparator = ",";
        CultureInfo before = CultureInfo.CurrentCulture;
        try
        {
            CultureInfo.CurrentCulture = culture;
            Assert.Equal(invariant, GeneratorRun.Of(Source).Files["Kernel.Decoder.g.cs"]);
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Fact]
    public void Every_name_is_there_once() => Assert.Equal(Plans.Count, Plans.Select(plan => plan.Name).Distinct().Count());

    [Theory]
    [MemberData(nameof(Names))]
    public void A_kernel_declares_each_of_its_registers_once_and_jumps_to_labels_that_it_has(string name)
    {
        string text = Text(name);
        string[] registers = [.. Declarations().Matches(text).SelectMany(match => match.Groups[1].Value.Split(',')).Select(register => register.Trim())];
        Assert.Equal(registers.Length, registers.Distinct().Count());
        string[] labels = [.. Labels().Matches(text).Select(match => match.Groups[1].Value)];
        Assert.Equal(labels.Length, labels.Distinct().Count());
        Assert.Empty(Jumps().Matches(text).Select(match => match.Groups[1].Value).Except(labels));
        Assert.Contains($".visible .entry {name}(", text, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_kernel_of_the_newer_generation_waits_before_any_thread_writes_or_leaves(string name)
    {
        // A thread that left unheard could let the kernel end, and the one behind it start, before those ahead have ended.
        string text = Text(name);
        if (name.EndsWith("_sm80", StringComparison.Ordinal))
        {
            Assert.Contains(".target sm_80\n", text, StringComparison.Ordinal);
            Assert.DoesNotContain("griddepcontrol", text, StringComparison.Ordinal);
            return;
        }

        // Of a product by wgmma every block's consumers wait, not the threads beside the one that orders its loads.
        bool isSpecific = name.EndsWith("_sm90a", StringComparison.Ordinal), isProduct = isSpecific && name.StartsWith("gemm", StringComparison.Ordinal);
        Assert.Contains(isSpecific ? ".target sm_90a\n" : ".target sm_90\n", text, StringComparison.Ordinal);
        string[] lines = [.. text.Split('\n').Select(static line => line.Trim())];
        HashSet<int> seen = [];
        Stack<int> next = new([0]);
        while (next.TryPop(out int at))
        {
            // Every line that can be reached without having waited, whichever way predicates go.
            if (!seen.Add(at) || lines[at] == "griddepcontrol.wait;")
            {
                continue;
            }

            Assert.False((lines[at] == "ret;" && !isProduct) || Writes().IsMatch(lines[at]), $"line {at} before the wait: {lines[at]}");
            if (Jumps().Match(lines[at]) is { Success: true } jump)
            {
                next.Push(Array.IndexOf(lines, jump.Groups[1].Value + ":"));
            }

            if (!lines[at].StartsWith("bra ", StringComparison.Ordinal) && lines[at] != "ret;")
            {
                next.Push(at + 1);
            }
        }
    }

    [Fact]
    public void An_unrelated_edit_runs_nothing_again()
    {
        Microsoft.CodeAnalysis.CSharp.CSharpCompilation project = UserProject.Create(Source, "class Unrelated { int Answer() => 42; }");
        GeneratorDriver driver = GeneratorRun.CreateDriver(project).RunGenerators(project);
        SyntaxTree old = project.SyntaxTrees.Last();
        project = project.ReplaceSyntaxTree(old, UserProject.Parse("class Unrelated { int Answer() => 43; }", old.FilePath));
        GeneratorRunResult result = driver.RunGenerators(project).GetRunResult().Results.Single();
        Assert.All(
            result.TrackedSteps[Int8KernelGenerator.DecoderSpecStep].SelectMany(step => step.Outputs),
            output => Assert.True(output.Reason is IncrementalStepRunReason.Cached or IncrementalStepRunReason.Unchanged));
        Assert.NotEmpty(result.TrackedSteps[Int8KernelGenerator.DecoderSpecStep]);
    }

    private static string Text(string name) => DecoderKernelText.Of(Plans.Single(plan => plan.Name == name));

    [GeneratedRegex(@"^\s*\.reg \.\w+ ([^;]+);", RegexOptions.Multiline)]
    private static partial Regex Declarations();

    [GeneratedRegex(@"^([A-Z]\w*):$", RegexOptions.Multiline)]
    private static partial Regex Labels();

    [GeneratedRegex(@"\bbra ([^;]+);")]
    private static partial Regex Jumps();

    [GeneratedRegex(@"\b(st|red|atom)\.(\w+\.)*global\b")]
    private static partial Regex Writes();
}
