using System.Collections.Immutable;
using KernelGen.Generator.Tests.Infrastructure;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace KernelGen.Generator.Tests;

/// <summary>What runs again after an edit, by the reasons that the tracked steps give.</summary>
public sealed class IncrementalTests
{
    private const string First = "[Int8Kernel(CpuTileM = [2], CpuTileN = [16])] partial class First;";

    private const string Second = "[Int8Kernel(CpuTileM = [1], CpuTileN = [32])] partial class Second;";

    private const string Unrelated = "class Unrelated { int Answer() => 42; }";

    private static readonly string[] Steps = [Int8KernelGenerator.SpecStep, Int8KernelGenerator.PlanStep];

    private CSharpCompilation project = UserProject.Create(First, Second, Unrelated);

    private GeneratorDriver driver;

    public IncrementalTests() => driver = GeneratorRun.CreateDriver(project);

    [Fact]
    public void The_first_run_makes_everything_new()
    {
        Run();
        foreach (string step in Steps)
        {
            Assert.Equal([IncrementalStepRunReason.New, IncrementalStepRunReason.New], Reasons(step));
        }

        Assert.Equal([IncrementalStepRunReason.New, IncrementalStepRunReason.New], OutputReasons());
    }

    [Fact]
    public void The_same_project_again_is_cached()
    {
        Run();
        Run();
        AssertNothingRan();
    }

    [Fact]
    public void An_edit_in_an_unrelated_file_runs_nothing_of_ours()
    {
        ImmutableArray<GeneratedSourceResult> before = Run();
        Replace(2, "class Unrelated { int Answer() => 43; string Question() => \"?\"; }");
        ImmutableArray<GeneratedSourceResult> after = Run();
        AssertNothingRan();
        AssertSameText(before, after);
    }

    [Fact]
    public void A_new_file_runs_nothing_of_ours()
    {
        Run();
        project = project.AddSyntaxTrees(UserProject.Parse("class Another;", "Another.cs"));
        Run();
        AssertNothingRan();
    }

    [Fact]
    public void An_edit_beside_a_spec_runs_no_step_after_the_spec()
    {
        Run();
        Replace(0, $"{First}\n/* a comment */ class Neighbour;");
        Run();

        // The class is looked at again, and found to say the same.
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], Reasons(Int8KernelGenerator.PlanStep));
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], OutputReasons());
    }

    [Fact]
    public void An_edit_of_one_spec_regenerates_that_spec_alone()
    {
        ImmutableArray<GeneratedSourceResult> before = Run();
        Replace(0, "[Int8Kernel(CpuTileM = [4], CpuTileN = [16])] partial class First;");
        ImmutableArray<GeneratedSourceResult> after = Run();

        Assert.Equal([IncrementalStepRunReason.Modified, IncrementalStepRunReason.Cached], Reasons(Int8KernelGenerator.PlanStep));
        Assert.Equal([IncrementalStepRunReason.Modified, IncrementalStepRunReason.Cached], OutputReasons());
        Assert.Equal(before.Select(file => file.HintName), after.Select(file => file.HintName));
        foreach ((GeneratedSourceResult old, GeneratedSourceResult current) in before.Zip(after))
        {
            // A file that was not generated again is the very same object.
            Assert.Equal(old.HintName.StartsWith("Second", StringComparison.Ordinal), ReferenceEquals(old.SourceText, current.SourceText));
        }
    }

    [Fact]
    public void A_new_spec_leaves_the_others_alone()
    {
        Run();
        Replace(2, "[Int8Kernel(CpuTileM = [3], CpuTileN = [8])] partial class Third;");
        ImmutableArray<GeneratedSourceResult> after = Run();

        Assert.Equal(
            [IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached, IncrementalStepRunReason.New], Reasons(Int8KernelGenerator.PlanStep));
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached, IncrementalStepRunReason.New], OutputReasons());
        Assert.Contains("Third.Cpu.g.cs", after.Select(file => file.HintName));
    }

    [Fact]
    public void A_removed_spec_takes_its_files_along()
    {
        Run();
        Replace(1, "partial class Second;");
        ImmutableArray<GeneratedSourceResult> after = Run();

        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Removed], Reasons(Int8KernelGenerator.PlanStep));
        Assert.Equal(["First.Cpu.g.cs", "First.Kernels.g.cs"], after.Select(file => file.HintName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void What_remains_after_a_removal_is_what_was()
    {
        // Roslyn's tables go by position, so a spec that moves up may be generated again; its text must not change.
        ImmutableArray<GeneratedSourceResult> before = Run();
        Replace(0, "partial class First;");
        ImmutableArray<GeneratedSourceResult> after = Run();

        Assert.Equal(
            before.Where(file => file.HintName.StartsWith("Second", StringComparison.Ordinal)).Select(file => (file.HintName, file.SourceText.ToString())),
            after.Select(file => (file.HintName, file.SourceText.ToString())));
    }

    [Fact]
    public void A_spec_that_becomes_invalid_takes_its_files_along()
    {
        Run();
        Replace(0, "[Int8Kernel(CpuTileM = [0], CpuTileN = [16])] partial class First;");
        ImmutableArray<GeneratedSourceResult> after = Run();

        Assert.Equal(["Second.Cpu.g.cs", "Second.Kernels.g.cs"], after.Select(file => file.HintName).Order(StringComparer.Ordinal));
        Assert.Contains(IncrementalStepRunReason.Cached, Reasons(Int8KernelGenerator.PlanStep));
    }

    [Fact]
    public void Whether_ILGPU_is_there_is_not_asked_again_while_code_is_typed()
    {
        Run();
        Replace(2, "class Unrelated { int Answer() => 43; }");
        Run();
        Assert.Equal([IncrementalStepRunReason.Cached], Reasons(Int8KernelGenerator.IlgpuStep));
        AssertNothingRan();
    }

    [Fact]
    public void A_typed_edit_in_an_unrelated_file_runs_no_step_of_ours_at_all()
    {
        // Every key of a typed line, in a project with both kinds of kernels.
        project = project.AddSyntaxTrees(UserProject.Parse("[DecoderKernels(HeadSizes = [16])] partial class Decoding;", "Decoding.cs"));
        Run();
        const string Typed = "class Unrelated { int Answer() => 42; string Question() => \"?\"; }";
        for (int length = 40; length <= Typed.Length; length++)
        {
            Replace(2, Typed[..length]);
            Run();
            GeneratorRunResult result = Assert.Single(driver.GetRunResult().Results);
            foreach (string step in (string[])[Int8KernelGenerator.SpecStep, Int8KernelGenerator.PlanStep, Int8KernelGenerator.IlgpuStep, Int8KernelGenerator.DecoderSpecStep])
            {
                Assert.All(Reasons(result.TrackedSteps[step]), reason => Assert.Equal(IncrementalStepRunReason.Cached, reason));
            }

            Assert.All(result.TrackedOutputSteps.Values.SelectMany(Reasons), reason => Assert.Equal(IncrementalStepRunReason.Cached, reason));
        }
    }

    [Fact]
    public void A_reference_to_ILGPU_regenerates_the_specs_that_ask_for_it_alone()
    {
        Replace(1, "[Int8Kernel(CpuTileM = [1], CpuTileN = [32], Targets = KernelTargets.Ilgpu)] partial class Second;");
        ImmutableArray<GeneratedSourceResult> before = Run();
        project = project.AddReferences(UserProject.Ilgpu);
        ImmutableArray<GeneratedSourceResult> after = Run();

        Assert.Equal([IncrementalStepRunReason.Modified], Reasons(Int8KernelGenerator.IlgpuStep));
        Assert.Equal([IncrementalStepRunReason.Unchanged, IncrementalStepRunReason.Modified], Reasons(Int8KernelGenerator.PlanStep));
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Modified], OutputReasons());
        Assert.Equal(["Second.Ilgpu.g.cs"], after.Select(file => file.HintName).Except(before.Select(file => file.HintName)));
    }

    private static void AssertSameText(ImmutableArray<GeneratedSourceResult> before, ImmutableArray<GeneratedSourceResult> after)
    {
        Assert.Equal(before.Select(file => file.HintName), after.Select(file => file.HintName));
        Assert.All(before.Zip(after), pair => Assert.Same(pair.First.SourceText, pair.Second.SourceText));
    }

    private void Replace(int file, string source)
    {
        SyntaxTree old = project.SyntaxTrees[file];
        project = project.ReplaceSyntaxTree(old, UserProject.Parse(source, old.FilePath));
    }

    private ImmutableArray<GeneratedSourceResult> Run()
    {
        driver = driver.RunGenerators(project);
        GeneratorRunResult result = Assert.Single(driver.GetRunResult().Results);
        Assert.Null(result.Exception);
        return result.GeneratedSources;
    }

    private void AssertNothingRan()
    {
        foreach (string step in Steps)
        {
            Assert.All(Reasons(step), reason => Assert.True(reason is IncrementalStepRunReason.Cached or IncrementalStepRunReason.Unchanged, $"{step} is {reason}"));
        }

        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], Reasons(Int8KernelGenerator.PlanStep));
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], OutputReasons());
    }

    private IncrementalStepRunReason[] Reasons(string step) =>
        Reasons(Assert.Single(driver.GetRunResult().Results).TrackedSteps[step]);

    private IncrementalStepRunReason[] OutputReasons() =>
        [.. Assert.Single(driver.GetRunResult().Results).TrackedOutputSteps.Values.SelectMany(Reasons)];

    private static IncrementalStepRunReason[] Reasons(ImmutableArray<IncrementalGeneratorRunStep> runs) =>
        [.. runs.SelectMany(run => run.Outputs).Select(output => output.Reason)];
}
