using System.CommandLine;
using KernelGen.Backends.Cuda;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Benchmarks;
using KernelGen.Kernels.Specs;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen bench</c>: times matrix multiplications on this machine.</summary>
internal static class BenchCommand
{
    private static readonly Dictionary<string, CpuBenchmarkOperation> Operations = new(StringComparer.Ordinal)
    {
        ["int8-gemm"] = CpuBenchmarkOperation.Int8Gemm,
        ["llm-int8"] = CpuBenchmarkOperation.LlmInt8,
        ["f32"] = CpuBenchmarkOperation.Float32,
    };

    private static readonly Dictionary<string, OutlierPolicy> Policies =
        Enum.GetValues<OutlierPolicy>().ToDictionary(static policy => policy.ToString().ToLowerInvariant(), StringComparer.Ordinal);

    private static readonly Dictionary<string, CpuInstructionSet> InstructionSets =
        Enum.GetValues<CpuInstructionSet>().ToDictionary(static set => set.ToString().ToLowerInvariant(), StringComparer.Ordinal);

    public static Command Create(CommandContext context)
    {
        Option<string?> device = DeviceOption.Create();
        Option<string?> operations = OptionFactory.Text(
            "--op", "OP[,OP...]", $"What to time, llm-int8 unless given: {string.Join(", ", Operations.Keys)}; on a GPU {string.Join(", ", CudaBenchmark.Operations.Keys)}.");
        Option<string?> shapes = ShapesOption.Create("Rows of activations, input and output features. Or --m, --k and --n.");
        Option<string?> rows = OptionFactory.Text("--m", "M[,M...]", "Rows of activations, with --k and --n; 1,16,128,512 unless given.");
        Option<int?> inputs = OptionFactory.WholeNumber("--k", "K", "Input features.", 1);
        Option<int?> outputs = OptionFactory.WholeNumber("--n", "N", "Output features.", 1);
        Option<string?> threads = OptionFactory.Text("--threads", "N[,N...]", "Numbers of threads; 1 unless given.");
        Option<int?> outliers = OptionFactory.WholeNumber("--outliers", "C", "Outlier columns in the activations; 6 unless given.", 0);
        Option<string?> policy = OptionFactory.Text(
            "--policy", "P", $"Which activations leave the int8 part, columns unless given: {string.Join(", ", Policies.Keys)}.");
        Option<string?> instructionSet = OptionFactory.Text(
            "--instruction-set", "I", $"Kernels for another instruction set than the preferred one: {string.Join(", ", InstructionSets.Keys)}.");
        Option<float?> seconds = OptionFactory.Number(
            "--seconds", "S", "The least time to spend on the samples of a line; 0.3 unless given.", "a positive number", static value => value > 0);
        Option<int?> samples = OptionFactory.WholeNumber("--reps", "R", "The fewest samples of a line; 9 unless given.", 1);
        Option<string?> against = OptionFactory.Text(
            "--against", "FILE", "JSON lines of other libraries' benchmark programs: one table of theirs and ours, for the shapes that both have.");
        Option<bool> json = SharedOptions.Json("One JSON object per line: peer, op, M, K, N, threads, weights, copies, reps, times, speeds.");
        Command command = new("bench", "Times matrix multiplications, with weights that are in the cache (hot) and that are not (cold).")
        {
            device, operations, shapes, rows, inputs, outputs, threads, outliers, policy, instructionSet, seconds, samples, against, json,
        };
        command.SetAction(parsed =>
        {
            CpuBenchmarkOptions defaults = new();
            CudaDevice? gpu = DeviceOption.Parse(parsed.GetValue(device));
            string[] names = (parsed.GetValue(operations) ?? "llm-int8").Split(',');
            CpuBenchmarkOptions options = new()
            {
                Operations = gpu is null ? [.. names.Select(static name => Named("--op", name, Operations))] : [],
                Shapes = Shapes(parsed.GetValue(shapes), parsed.GetValue(rows), parsed.GetValue(inputs), parsed.GetValue(outputs)),
                Threads = ShapesOption.WholeNumbers("--threads", parsed.GetValue(threads) ?? "1"),
                OutlierColumns = parsed.GetValue(outliers) ?? defaults.OutlierColumns,
                Policy = Named("--policy", parsed.GetValue(policy) ?? "columns", Policies),
                InstructionSet = parsed.GetValue(instructionSet) is { } name ? Named("--instruction-set", name, InstructionSets) : null,
                Seconds = parsed.GetValue(seconds) ?? defaults.Seconds,
                Samples = parsed.GetValue(samples) ?? defaults.Samples,
            };
            if (parsed.GetValue(outliers) is { } columns && options.Shapes.MinBy(static shape => shape.K) is var narrow && narrow.K < columns)
            {
                throw new BadInputException($"--outliers: {columns} columns are more than the {narrow.K} of {narrow}. Give at most as many.");
            }

            bool asJson = parsed.GetValue(json);
            BenchmarkComparison? comparison = parsed.GetValue(against) is { } file ? BenchmarkComparison.Read(file, asJson) : null;
            if (gpu is null)
            {
                Run(context, options, asJson, comparison);
            }
            else
            {
                RunOnCuda(context, gpu, options, names, comparison);
            }

            comparison?.Show(context);

            return ExitCodes.Ok;
        });
        return command;
    }

    private static void Run(CommandContext context, CpuBenchmarkOptions options, bool json, BenchmarkComparison? comparison)
    {
        IEnumerable<BenchmarkLine> lines;
        try
        {
            lines = CpuBenchmark.Run(options);
        }
        catch (NotSupportedException exception)
        {
            throw new BadInputException($"--instruction-set: {exception.Message}", exception);
        }

        foreach (BenchmarkLine line in lines)
        {
            context.Cancellation.ThrowIfCancellationRequested();
            if (comparison is not null)
            {
                comparison.Add(line.Compared);
                continue;
            }

            context.Output.WriteLine(json ? line.ToJson() : line.ToString());
            context.Output.Flush();
        }
    }

    /// <summary>Device time, every kernel that can run; float16 in and out, as JSON lines of the fastest.</summary>
    private static void RunOnCuda(CommandContext context, CudaDevice device, CpuBenchmarkOptions options, string[] operations, BenchmarkComparison? comparison)
    {
        Int8KernelSet kernels = options.Policy switch
        {
            OutlierPolicy.None => AbsmaxVector.Kernels,
            OutlierPolicy.Elements => LlmInt8Elements.Kernels,
            OutlierPolicy.Columns => LlmInt8.Kernels,
            _ => throw new BadInputException("--policy: on a GPU, use columns, elements or none."),
        };
        foreach (string operation in operations)
        {
            if (Named("--op on a GPU", operation, CudaBenchmark.Operations) == CudaOperation.Quantize && comparison is not null)
            {
                throw new BadInputException("--op: no other program's lines are of 'quantize' alone. With --against, use int8-gemm or llm-int8.");
            }
        }

        using CudaBenchmark benchmark = new(device, kernels);
        foreach (string operation in operations)
        {
            foreach (BenchmarkShape shape in options.Shapes)
            {
                context.Cancellation.ThrowIfCancellationRequested();
                int outliers = options.Policy == OutlierPolicy.None ? 0 : options.OutlierColumns;
                CudaBenchmarkResult result = benchmark.Run(operation, shape.M, shape.K, shape.N, outliers);
                if (comparison is not null)
                {
                    comparison.Add(new ComparedLine($"kernelgen/{operation}", PeerLines.KindOf(operation), shape, ComparedLine.Gpu, result.MicrosecondsMedian));
                    continue;
                }

                context.Output.WriteLine(result.ToJson());
                context.Output.Flush();
            }
        }
    }

    private static BenchmarkShape[] Shapes(string? shapes, string? rows, int? inputs, int? outputs)
    {
        if (shapes is not null)
        {
            return rows is null && inputs is null && outputs is null
                ? ShapesOption.Parse(shapes)
                : throw new BadInputException($"{ShapesOption.Name}: the shapes are whole; leave --m, --k and --n out.");
        }

        return inputs is { } k && outputs is { } n
            ? [.. ShapesOption.WholeNumbers("--m", rows ?? "1,16,128,512").Select(m => ShapesOption.Check("--m, --k, --n", new BenchmarkShape(m, k, n)))]
            : throw new BadInputException("--shapes: give the sizes, such as --shapes 128x4096x11008, or --k and --n.");
    }

    private static T Named<T>(string option, string name, IReadOnlyDictionary<string, T> values) => values.TryGetValue(name, out T? value)
        ? value
        : throw new BadInputException($"{option}: '{name}' is not one of {string.Join(", ", values.Keys)}.");
}
