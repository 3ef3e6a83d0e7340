using System.CommandLine;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;
using Spectre.Console;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen eval</c>: perplexity of a model on a text, by scheme.</summary>
internal static class EvalCommand
{
    public static Command Create(CommandContext context)
    {
        Option<string?> model = SharedOptions.Model();
        Option<string?> text = OptionFactory.Text("--text", "FILE", "A text in UTF-8.", required: true);
        Option<string?> scheme = OptionFactory.Text(
            SchemeOption.Name, "S[,S...]", $"The schemes to measure; all that the device runs unless given: {SchemeOption.Names}.");
        Option<int?> windows = SharedOptions.Windows("Most windows of the text to score; all unless given.");
        Option<int?> window = OptionFactory.WholeNumber("--context", "C", "Tokens per window; 512, or the model's context if that is less, unless given.", 2);
        Option<int?> batch = OptionFactory.WholeNumber(
            "--batch", "B", "Windows that go through the model at once, 16 unless given. Statistics that span tokens see a whole batch.", 1);
        Option<float?> threshold = SharedOptions.Threshold();
        Option<string?> fixedOutliers = OptionFactory.Text(
            "--fixed-outliers", "FILE", $"JSON of calibrated outlier columns, as 'kernelgen outliers --out' writes it, for the scheme {QuantizationScheme.Fixed.Name}, which is measured too then.");
        Option<int?> threads = SharedOptions.Threads();
        Option<string?> device = DeviceOption.CreateForModels();
        Option<string?> cache = CacheOption.Create();
        Option<bool> json = SharedOptions.Json(
            "One JSON object per scheme and line: scheme, perplexity (null if it is not a number), tokens_scored, seconds, model_bytes.");
        Command command = new("eval", "Measures a model's perplexity on a text, by scheme.")
        {
            model, text, scheme, windows, window, batch, threshold, fixedOutliers, threads, device, cache, json,
        };
        command.SetAction(parsed =>
        {
            PerplexityOptions options = new() { WindowLength = parsed.GetValue(window), Windows = parsed.GetValue(windows) };
            if (parsed.GetValue(batch) is int size)
            {
                options = options with { BatchSize = size };
            }

            ModelDevices? devices = DeviceOption.ParseForModels(parsed.GetValue(device));
            FixedOutlierSet? outliers = parsed.GetValue(fixedOutliers) is string file ? FixedOutlierSet.Load(file) : null;
            Run(
                context,
                parsed.GetValue(model)!,
                parsed.GetValue(text)!,
                Schemes(parsed.GetValue(scheme), outliers, devices is not null),
                options,
                new ModelSettings(parsed.GetValue(threshold), parsed.GetValue(threads), devices, outliers, CacheOption.Parse(parsed.GetValue(cache), devices)),
                parsed.GetValue(json));
            return ExitCodes.Ok;
        });
        return command;
    }

    private static IReadOnlyList<QuantizationScheme> Schemes(string? names, FixedOutlierSet? fixedOutliers, bool onDevice)
    {
        if (names is null)
        {
            IReadOnlyList<QuantizationScheme> all = onDevice ? QuantizationScheme.OnDevices : QuantizationScheme.All;
            return fixedOutliers is null ? all : [.. all, QuantizationScheme.Fixed];
        }

        IReadOnlyList<QuantizationScheme> schemes = SchemeOption.ParseList(names);
        return fixedOutliers is null || schemes.Contains(QuantizationScheme.Fixed)
            ? schemes
            : throw new BadInputException(
                $"--fixed-outliers: {names} has no fixed outliers, so they change nothing. Leave them out, or add {QuantizationScheme.Fixed.Name} to {SchemeOption.Name}.");
    }

    private static void Run(
        CommandContext context,
        string model,
        string textFile,
        IReadOnlyList<QuantizationScheme> schemes,
        PerplexityOptions options,
        ModelSettings settings,
        bool json)
    {
        SchemeOption.CheckThreshold(settings.Threshold, schemes);
        foreach (QuantizationScheme scheme in schemes)
        {
            DeviceOption.Check(scheme, settings.Devices);
        }

        string folder = InputFiles.ModelFolder("--model", model);
        string text = InputFiles.ReadText("--text", textFile);
        int[] tokens = Tokenizer.Load(folder).Encode(text);
        SchemeEvaluator evaluator = new(folder, $"--text: '{textFile}'", tokens, options, settings);
        IReadOnlyList<SchemeResult> results = evaluator.EvaluateAll(schemes, context, json, json ? result => WriteJson(context, result) : null);
        if (options.Windows > results[0].Windows)
        {
            context.Note($"the text has {results[0].Windows} windows, {options.Windows} were asked for.");
        }

        if (!json)
        {
            ShowTable(context, results);
        }

        if (results.FirstOrDefault(static result => !double.IsFinite(result.Perplexity)) is { } broken)
        {
            throw new BadInputException(
                $"--model: '{folder}' has no perplexity by {broken.Scheme.Name}: a logit is NaN or infinite. Its weights or activations are not finite, or leave the range of their type; 'kernelgen inspect' shows the types.");
        }
    }

    private static void WriteJson(CommandContext context, SchemeResult result) => JsonLine.Write(context.Output, writer =>
    {
        writer.WriteString("scheme", result.Scheme.Name);
        writer.WriteNumberOrNull("perplexity", result.Perplexity);
        writer.WriteNumber("tokens_scored", result.TokensScored);
        writer.WriteNumber("seconds", Math.Round(result.Seconds, 3));
        writer.WriteNumber("model_bytes", result.ModelBytes);
    });

    private static void ShowTable(CommandContext context, IReadOnlyList<SchemeResult> results)
    {
        SchemeResult? reference = results.FirstOrDefault(static result => result.Scheme.Name is "fp32" or "fp16");
        Table table = Report.CreateTable(context, "scheme", ">perplexity", $">against {reference?.Scheme.Name ?? "fp32"}", ">tokens scored", ">seconds", ">model");
        foreach (SchemeResult result in results)
        {
            table.AddCells(
                null,
                result.Scheme.Name,
                Numbers.Perplexity(result.Perplexity),
                reference is null ? "" : Numbers.Change(result.Perplexity, reference.Perplexity),
                Numbers.Count(result.TokensScored),
                Numbers.Seconds(result.Seconds),
                Numbers.Bytes(result.ModelBytes));
        }

        context.Show(table);
    }
}
