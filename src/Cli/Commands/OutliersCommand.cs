using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Html;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Outliers;
using KernelGen.Inference.Tokenization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen outliers</c>: which activations of a model are outliers, what they are worth, and what to do about them.</summary>
internal static class OutliersCommand
{
    public static Command Create(CommandContext context)
    {
        OutlierAnalysisOptions defaults = new();
        Option<string?> model = SharedOptions.Model();
        Option<string?> text = OptionFactory.Text("--text", "FILE", "A text in UTF-8.", required: true);
        Option<float?> threshold = OptionFactory.Number(
            "--threshold", "T", "The magnitude from which an activation is an outlier; 6 unless given, as in the paper.", "a positive number", static value => value > 0);
        Option<string?> thresholds = OptionFactory.Text(
            "--thresholds",
            "T[,T...]",
            string.Create(CultureInfo.InvariantCulture, $"The thresholds at which LLM.int8() is tried, to suggest one; {string.Join(", ", defaults.CandidateThresholds)} unless given."));
        Option<int?> windows = SharedOptions.Windows("Most windows of the text to use; 16 unless given.");
        Option<int?> window = OptionFactory.WholeNumber("--context", "C", "Tokens per window; 512, or the model's context if that is less, unless given.", 2);
        Option<int?> batch = OptionFactory.WholeNumber("--batch", "B", "Windows that go through the model at once, 16 unless given. Outlier columns span a whole batch.", 1);
        Option<int?> draws = OptionFactory.WholeNumber("--draws", "D", "How many times random columns are zeroed for comparison; 5 unless given.", 1);
        Option<int?> seed = OptionFactory.WholeNumber("--seed", "S", "Where the random draws begin; 1 unless given.", 0);
        Option<string?> output = OptionFactory.Text(
            "--out", "FILE", "Writes the suggested fixed set there, a new file, for 'kernelgen quantize --fixed-outliers', 'kernelgen eval --fixed-outliers' and FixedOutlierSet.Load.");
        Option<string?> report = OptionFactory.Text("--report", "FILE.html", "Writes a page to look at there, to a new file or over such a page; it needs no network.");
        Option<int?> threads = SharedOptions.Threads();
        Option<bool> json = SharedOptions.Json(
            "One JSON object: perplexity, features, zeroing, thresholds, suggestion, inputs and how they were found.");
        Command command = new("outliers", "Finds a model's outlier features, measures what they are worth, and suggests a threshold and a fixed set.")
        {
            model, text, threshold, thresholds, windows, window, batch, draws, seed, output, report, threads, json,
        };
        command.SetAction(parsed =>
        {
            OutlierAnalysisOptions options = new()
            {
                Threshold = parsed.GetValue(threshold) ?? defaults.Threshold,
                CandidateThresholds = parsed.GetValue(thresholds) is string list ? ParseThresholds(list) : defaults.CandidateThresholds,
                Text = new PerplexityOptions
                {
                    WindowLength = parsed.GetValue(window),
                    Windows = parsed.GetValue(windows) ?? defaults.Text.Windows,
                    BatchSize = parsed.GetValue(batch) ?? defaults.Text.BatchSize,
                },
                Draws = parsed.GetValue(draws) ?? defaults.Draws,
                Seed = parsed.GetValue(seed) ?? defaults.Seed,
                MaxDegreeOfParallelism = parsed.GetValue(threads) ?? defaults.MaxDegreeOfParallelism,
            };
            string folder = parsed.GetValue(model)!, file = parsed.GetValue(text)!;
            OutputFile? set = parsed.GetValue(output) is string setPath ? OutputFile.Check("--out", setPath, folder, file) : null;
            OutputFile? page = parsed.GetValue(report) is string pagePath
                ? OutputFile.CheckPage("--report", pagePath, HtmlReport.Outliers, folder, file).OtherThan(set)
                : null;
            Run(context, folder, file, options, set, page, parsed.GetValue(json));
            return ExitCodes.Ok;
        });
        return command;
    }

    private static float[] ParseThresholds(string list)
    {
        float[] thresholds = [.. list.Split(',').Select(static text =>
            float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float value) && float.IsFinite(value) && value > 0
                ? value
                : throw new BadInputException($"--thresholds: '{text}' is not a positive number."))];
        return [.. thresholds.Distinct().Order()];
    }

    private static void Run(
        CommandContext context, string model, string textFile, OutlierAnalysisOptions options, OutputFile? set, OutputFile? page, bool json)
    {
        string folder = InputFiles.ModelFolder("--model", model);
        int longest = ModelFamilies.Describe(ConfigReader.Open(folder)).ContextLength;
        if (options.Text.WindowLength > longest)
        {
            throw new BadInputException($"--context: {options.Text.WindowLength} exceeds the context length of '{model}', {longest}. Use that or less.");
        }

        int[] tokens = Tokenizer.Load(folder).Encode(InputFiles.ReadText("--text", textFile));
        OutlierReport report = ProgressBars.Run(context, json, bars =>
        {
            BarProgress progress = new(bars.Start("loading the model"));
            return BadInputException.Check($"--text: '{textFile}'", () => OutlierAnalysis.Run(folder, tokens, options, progress, context.Cancellation));
        });
        try
        {
            if (json)
            {
                JsonLine.Write(context.Output, writer => OutlierJson.Write(writer, model, textFile, report));
            }
            else
            {
                OutlierTables.Show(context, report);
            }
        }
        finally
        {
            // After the results, which a full disk must not cost; and also where their reader has gone, or the other file fails.
            try
            {
                WriteSet(context, set, report, json);
            }
            finally
            {
                WritePage(context, page, folder, writer => OutlierJson.Write(writer, model, textFile, report), json);
            }
        }
    }

    private static void WriteSet(CommandContext context, OutputFile? set, OutlierReport report, bool json)
    {
        if (set is null)
        {
            return;
        }

        set.Write(report.Suggestion.Fixed.FixedOutliers.ToJson());
        if (!json)
        {
            context.Sentence($"The set is in {TerminalText.Clean(set.Path)}: kernelgen quantize --fixed-outliers FILE, or kernelgen eval --fixed-outliers FILE.");
        }
    }

    private static void WritePage(CommandContext context, OutputFile? page, string folder, Action<Utf8JsonWriter> writeData, bool json)
    {
        if (page is null)
        {
            return;
        }

        string title = $"Outlier features of {Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)))}";
        page.Write(Encoding.UTF8.GetBytes(HtmlReport.Compose(title, HtmlReport.Outliers, writeData)));
        if (!json)
        {
            context.Sentence($"The report is in {TerminalText.Clean(page.Path)}.");
        }
    }

    private sealed class BarProgress(ProgressReporter bar) : IProgress<OutlierProgress>
    {
        public void Report(OutlierProgress value)
        {
            bar.Describe(value.Stage);
            bar.Report(value.Share);
        }
    }
}
