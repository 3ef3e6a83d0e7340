using System.Diagnostics;
using KernelGen.Inference.Conversion;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Transformers;
using KernelGen.Tests;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KernelGen.Inference.Tests;

/// <summary>What conversion, loading, evaluation and generation tell of themselves. Listeners hear the whole process.</summary>
[Collection(nameof(ObservabilityTests))]
[CollectionDefinition(nameof(ObservabilityTests), DisableParallelization = true)]
public sealed class ObservabilityTests
{
    private static readonly string Model = RepositoryPaths.Model("opt-1.5m");

    [Fact]
    public async Task A_conversion_is_an_activity_bytes_a_time_and_two_log_entries()
    {
        using TemporaryFolder folder = new();
        string output = Path.Combine(folder.Root, "int8");
        using Activities activities = new();
        using Measurements heard = new();
        using LogEntries log = new();
        ConversionResult result = await CheckpointConverter.ConvertAsync(Model, output);

        Activity activity = Assert.Single(activities.Ended, static activity => activity.OperationName == "kernelgen.convert");
        Assert.Equal(("llm-int8", Model, output), (activity.GetTagItem("kernelgen.scheme"), activity.GetTagItem("kernelgen.source"), activity.GetTagItem("kernelgen.output")));
        Assert.Equal((result.SourceBytes, result.OutputBytes), (activity.GetTagItem("kernelgen.source_bytes"), activity.GetTagItem("kernelgen.output_bytes")));
        Assert.Equal(result.SourceBytes, heard.Of("kernelgen.conversion.source_bytes").Sum(static bytes => bytes.Value));
        Assert.Equal(result.Elapsed.TotalSeconds, heard.Single("kernelgen.conversion.duration").Value);
        Assert.Equal([(200, LogLevel.Information), (201, LogLevel.Information)], log.Entries.Where(IsConversion).Select(static entry => (entry.Id, entry.Level)));
    }

    [Fact]
    public async Task A_conversion_that_fails_is_an_error_with_its_exception()
    {
        using TemporaryFolder folder = new();
        using Activities activities = new();
        using LogEntries log = new();
        string absent = Path.Combine(folder.Root, "absent");
        Exception exception = await Assert.ThrowsAnyAsync<Exception>(() => CheckpointConverter.ConvertAsync(absent, Path.Combine(folder.Root, "int8")));
        Activity activity = Assert.Single(activities.Ended);
        Assert.Equal((ActivityStatusCode.Error, exception.Message), (activity.Status, activity.StatusDescription));
        LogEntry entry = log.Entries.Last(IsConversion);
        Assert.Equal((203, LogLevel.Error, exception), (entry.Id, entry.Level, entry.Exception));
    }

    [Fact]
    public async Task A_conversion_that_is_cancelled_is_a_warning()
    {
        using TemporaryFolder folder = new();
        using LogEntries log = new();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => CheckpointConverter.ConvertAsync(
            Model, Path.Combine(folder.Root, "int8"), cancellation: new CancellationToken(canceled: true)));
        Assert.Equal([(200, LogLevel.Information), (202, LogLevel.Warning)], log.Entries.Where(IsConversion).Select(static entry => (entry.Id, entry.Level)));
    }

    [Fact]
    public void Loading_evaluating_and_generating_are_activities_and_measurements()
    {
        using Activities activities = new();
        using Measurements heard = new();
        using LogEntries log = new();
        using TransformerModel model = TransformerModel.Load(Model);
        long bytes = model.Bytes;
        int[] text = TransformerTestModels.TextTokens("opt-1.5m");
        PerplexityResult result = Perplexity.Evaluate(model, text, new PerplexityOptions { WindowLength = 32, Windows = 3, BatchSize = 2 });
        int[] tokens = new TextGenerator(model).Generate(text[..5], new GenerationOptions { MaxNewTokens = 4, StopAtEndOfSequence = false });

        Activity load = Assert.Single(activities.Ended, static activity => activity.OperationName == "kernelgen.load");
        Assert.Equal(("opt", "cpu", bytes), (load.GetTagItem("kernelgen.family"), load.GetTagItem("kernelgen.device"), load.GetTagItem("kernelgen.bytes")));
        Assert.Equal([new("kernelgen.device", "cpu"), new("kernelgen.family", "opt")], heard.Single("kernelgen.load.duration").Tags);
        LogEntry entry = Assert.Single(log.Entries, static entry => entry.Category == "KernelGen.Loading");
        Assert.StartsWith($"Loaded {Model} (opt) on cpu: {bytes} bytes", entry.Message, StringComparison.Ordinal);

        Activity evaluation = Assert.Single(activities.Ended, static activity => activity.OperationName == "kernelgen.evaluate");
        Assert.Equal((3, 32, result.Perplexity), (evaluation.GetTagItem("kernelgen.windows"), evaluation.GetTagItem("kernelgen.window_length"), evaluation.GetTagItem("kernelgen.perplexity")));
        Assert.Equal([2 * 31, 31], heard.Of("kernelgen.evaluation.tokens").Select(static scored => scored.Value));

        Assert.Equal(4, tokens.Length);
        Assert.Equal(4, heard.Of("kernelgen.generation.tokens").Sum(static generated => generated.Value));
        Assert.Equal(["prompt", "decode", "decode", "decode"], heard.Of("kernelgen.generation.token.duration").Select(static token => token.Tags.Single().Value));
    }

    [Fact]
    public void Every_instrument_is_documented()
    {
        string page = File.ReadAllText(Path.Combine(RepositoryPaths.Root, "docs", "observability.md"));
        string[] names =
        [
            "kernelgen.load.duration", "kernelgen.conversion.duration", "kernelgen.conversion.source_bytes", "kernelgen.generation.tokens",
            "kernelgen.generation.token.duration", "kernelgen.evaluation.tokens",
        ];
        Assert.All(names, name => Assert.Contains($"| `{name}` | ", page, StringComparison.Ordinal));
        Assert.All(["kernelgen.convert", "kernelgen.load", "kernelgen.evaluate"], name => Assert.Contains($"| `{name}` | ", page, StringComparison.Ordinal));
    }

    private static bool IsConversion(LogEntry entry) => entry.Category == "KernelGen.Conversion";
}
