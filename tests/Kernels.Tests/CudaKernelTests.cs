using System.Text;
using System.Text.RegularExpressions;
using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Gpu;
using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>The CUDA kernels: on a machine with a GPU the whole suite, everywhere that what is emitted has passed it.</summary>
public sealed partial class CudaKernelTests
{
    private static readonly string ListPath = Path.Combine(AppContext.BaseDirectory, ProofList.FileName);

    [SkippableFact]
    public void Every_kernel_agrees_with_the_oracle()
    {
        Skip.If(CudaDevice.Unavailable is not null, CudaDevice.Unavailable);
        using StringWriter log = new();
        List<string> failures = [];
        using CudaSuite suite = new(CudaDevice.All[0], log, failures);
        suite.Run("");
        Assert.True(failures.Count == 0, string.Join(Environment.NewLine, failures.Take(20)) + Environment.NewLine + log);
    }

    [Fact]
    public void Every_emitted_kernel_is_on_the_list()
    {
        HashSet<string> listed = [.. ProofList.ReadProven(ListPath), .. ProofList.ReadAwaiting(ListPath)];
        string[] unlisted = [.. ProofList.Emitted().Where(kernel => !listed.Contains(kernel.Value)).Select(kernel => kernel.Key)];
        Assert.True(
            unlisted.Length == 0,
            $"{unlisted.Length} kernels are not on the list of proven ones, e.g. {unlisted.FirstOrDefault()}; on a machine with a GPU run "
            + $"'dotnet run --project tests/Kernels.Gpu -c Release -- prove tests/Kernels.Gpu/{ProofList.FileName}', without one the same with 'await', and commit the list.");
    }

    /// <summary>Skipped, with the number, while kernels wait for a run on a GPU.</summary>
    [SkippableFact]
    public void Every_listed_kernel_has_passed_the_suite_on_a_gpu()
    {
        HashSet<string> awaiting = ProofList.ReadAwaiting(ListPath);
        string[] unproven = [.. ProofList.Emitted().Where(kernel => awaiting.Contains(kernel.Value)).Select(kernel => kernel.Key)];
        Skip.If(unproven.Length > 0, $"{unproven.Length} of {ProofList.Emitted().Count} kernels have changed since the last run of the whole suite on a GPU and await the next.");
    }

    /// <summary>Skipped, with the number, while records of other kernels come with the library: the rules choose then.</summary>
    [SkippableFact]
    public void The_tuning_records_that_come_with_the_library_are_of_the_kernels_that_are_emitted()
    {
        TuningRecord[] records = [.. TuningArchive.Bundled().Where(static record => record.Key.Target.Device.Kind == TuningDevice.Cuda)];
        Assert.NotEmpty(records);
        int stale = records.Count(static record => CudaSpecs.All.Single(set => set.Name == record.Key.Target.Spec) is var set
            && CudaDispatch.HashOf(set.CudaVariants, record.Key.Target.Output) != record.Key.Target.VariantSetHash);
        Skip.If(stale > 0, $"{stale} of {records.Length} tuning records of a GPU are of kernels that have changed since; 'compare' of bench/KernelGen.TuningBench measures them anew.");
    }

    [Fact]
    public void Every_decoder_kernel_that_the_runtime_asks_for_was_generated()
    {
        HashSet<string> generated = [.. Specs.Decoder.DecoderKernels.Variants.Select(variant => variant.Name)];
        List<string> asked = [];
        foreach (int capability in new[] { 80, 90 })
        {
            asked.AddRange([DecoderKernelNames.Embed(capability), DecoderKernelNames.Store(capability), DecoderKernelNames.ArgMax(capability), DecoderKernelNames.Sample(capability)]);
            asked.AddRange([DecoderKernelNames.Cache(widens: false, capability), DecoderKernelNames.Cache(widens: true, capability)]);
            asked.AddRange(
                from gate in new[] { false, true }
                from sink in Enum.GetValues<RowSink>()
                from zeroPoint in new[] { false, true }
                where sink >= RowSink.Quantize || !zeroPoint
                select DecoderKernelNames.Row(gate, sink, zeroPoint, capability));
            foreach (int size in Specs.Decoder.DecoderKernels.HeadSizes)
            {
                asked.AddRange(from queries in new[] { 1, 4 } from int8 in new[] { false, true } select DecoderKernelNames.AttentionDecode(size, queries, int8, capability));
                asked.Add(DecoderKernelNames.AttentionPrefill(size, capability));
            }

            asked.Add(DecoderKernelNames.WidenWeights(capability));

            foreach (ElementFormat output in new[] { ElementFormat.Float16, ElementFormat.Float32 })
            {
                asked.AddRange([.. new[] { 8, 16, 32 }.SelectMany(rows => new[] { false, true }.Select(int8 => DecoderKernelNames.FloatGemmFew(rows, output, int8, capability))), DecoderKernelNames.FloatGemmMany(output, capability)]);
            }
        }

        asked.AddRange(from output in new[] { ElementFormat.Float16, ElementFormat.Float32 } from blockN in new[] { 256, 64 } select DecoderKernelNames.FloatGemmWgmma(blockN, output));
        asked.AddRange(Specs.Decoder.DecoderKernels.HeadSizes.Select(DecoderKernelNames.AttentionPrefillWgmma));

        Assert.Equal(asked.Order(StringComparer.Ordinal), generated.Order(StringComparer.Ordinal));
    }

    /// <summary>What ptxas would refuse a text for, found without one.</summary>
    [Fact]
    public void Every_label_is_there_once_and_every_branch_has_one()
    {
        foreach (CudaKernelVariant variant in ProofList.Variants)
        {
            string[] lines = Encoding.UTF8.GetString(variant.Ptx()).Split('\n');
            string[] labels = [.. lines.Where(static line => line.EndsWith(':')).Select(static line => line.Trim().TrimEnd(':'))];
            string[] targets = [.. lines.Select(static line => Branch().Match(line)).Where(static match => match.Success).Select(static match => match.Groups[1].Value)];
            Assert.True(labels.Distinct().Count() == labels.Length, $"{variant.Name} has a label twice: {string.Join(", ", labels.GroupBy(static label => label).Where(static same => same.Count() > 1).Select(static same => same.Key))}");
            Assert.True(targets.All(labels.Contains), $"{variant.Name} branches to what is no label: {string.Join(", ", targets.Except(labels))}");
        }
    }

    [GeneratedRegex(@"\bbra(?:\.uni)? (\w+);")]
    private static partial Regex Branch();

    [Fact]
    public void A_machine_without_a_driver_says_so()
    {
        Assert.True(CudaDevice.Unavailable is null ? CudaDevice.All.Count > 0 : CudaDevice.All.Count == 0 && CudaDevice.Unavailable.Length > 10);
    }
}
