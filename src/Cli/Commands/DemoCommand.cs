using System.CommandLine;
using System.Diagnostics;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;
using Spectre.Console;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen demo</c>: a real checkpoint becomes int8, and what that costs and saves.</summary>
internal static class DemoCommand
{
    private const string Chosen = "llm-int8";

    /// <summary>One batch: enough to tell the schemes apart, and done in seconds.</summary>
    private const int DefaultWindows = 16;

    private const int DefaultNewTokens = 88;

    /// <summary>The table of schemes with their descriptions, each on one line.</summary>
    private const int WidthForDescriptions = 144;

    private const string DefaultPrompt = "A database transaction is";

    public static Command Create(CommandContext context)
    {
        Option<string?> model = OptionFactory.Text("--model", "DIR", "Another model, with a text.txt in its folder; the bundled opt-1.5m unless given.");
        Option<int?> windows = SharedOptions.Windows($"Windows of 512 tokens to score; {DefaultWindows} unless given.");
        Option<string?> prompt = OptionFactory.Text("--prompt", "TEXT", $"The text to continue; '{DefaultPrompt}' unless given.");
        Option<int?> maxNewTokens = OptionFactory.WholeNumber("--max-new-tokens", "N", $"Tokens to generate; {DefaultNewTokens} unless given.", 1);
        Option<string?> device = DeviceOption.CreateForModels();
        Command command = new("demo", "Converts the bundled 16-bit model to int8 and shows what it saves and what it costs.")
        {
            model, windows, prompt, maxNewTokens, device,
        };
        command.SetAction(parsed =>
        {
            string folder = parsed.GetValue(model) is string given ? InputFiles.ModelFolder("--model", given) : BundledModel.Find();
            string text = parsed.GetValue(prompt) ?? DefaultPrompt;
            if (text.Length == 0)
            {
                throw new BadInputException("--prompt: it is empty. Give at least one character, or leave it out.");
            }

            ModelSettings settings = new(null, null, DeviceOption.ParseForModels(parsed.GetValue(device)));
            Run(context, folder, settings, parsed.GetValue(windows) ?? DefaultWindows, text, parsed.GetValue(maxNewTokens) ?? DefaultNewTokens);
            return ExitCodes.Ok;
        });
        return command;
    }

    private static void Run(CommandContext context, string folder, ModelSettings settings, int windows, string prompt, int maxNewTokens)
    {
        long start = Stopwatch.GetTimestamp();
        string textFile = Path.Combine(folder, "text.txt");
        string text = InputFiles.ReadText("--model", textFile);
        Tokenizer tokenizer = Tokenizer.Load(folder);
        int[] tokens = tokenizer.Encode(text);

        SchemeEvaluator evaluator = new(folder, $"'{textFile}'", tokens, new PerplexityOptions { Windows = windows }, settings);
        IReadOnlyList<SchemeResult> results = evaluator.EvaluateAll(
            settings.Devices is null ? QuantizationScheme.All : QuantizationScheme.OnDevices, context, silent: false);
        int[] ids = tokenizer.Encode(prompt, addSpecialTokens: true);

        QuantizationScheme scheme = QuantizationScheme.Parse(Chosen);
        using LoadedModel int8 = ProgressBars.Run(context, silent: false, bars => LoadedModel.ForGeneration(
            folder, scheme, settings, (long)ids.Length + maxNewTokens, bars.Start($"loading as {Chosen}"), context.Cancellation));
        ShowMemory(context, folder, int8, results);
        ShowPerplexity(context, results, settings.Devices is null ? ("fp32", "absmax") : ("fp16", "absmax-vector"));
        ShowText(context, int8, tokenizer, prompt, ids, maxNewTokens);
        context.Output.WriteLine();
        context.Sentence(Numbers.Invariant($"Done in {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s."), new Style(Color.Grey));
    }

    private static void ShowMemory(CommandContext context, string folder, LoadedModel int8, IReadOnlyList<SchemeResult> results)
    {
        long checkpointBytes, parameters;
        using (Checkpoint checkpoint = Checkpoint.Open(folder))
        {
            checkpointBytes = checkpoint.Tensors.Values.Sum(static tensor => tensor.ByteLength);
            parameters = checkpoint.Tensors.Values.Sum(static tensor => tensor.ElementCount);
        }

        SchemeResult chosen = results.First(static result => result.Scheme.Name == Chosen);
        long float32Bytes = parameters * sizeof(float), linearFloat32Bytes = int8.LinearParameters * sizeof(float);
        context.Heading($"Memory: {Path.GetFileName(Path.GetFullPath(folder))}, {Numbers.Count(parameters)} parameters");
        Table table = Report.CreateTable(context, "", ">linear layers", ">whole model", ">linear layers, ratio");
        AddRow("in float32", linearFloat32Bytes, float32Bytes, null);
        AddRow("checkpoint", int8.LinearCheckpointBytes, checkpointBytes, null);
        AddRow($"int8 ({Chosen})", chosen.LinearBytes, chosen.ModelBytes, new Style(Color.Green));
        context.Show(table);
        context.Sentence(
            $"The linear layers, which are what int8 converts, take {Numbers.Ratio((double)chosen.LinearBytes / int8.LinearCheckpointBytes)} of the checkpoint's memory, with scales, biases and all. The embeddings stay as they are.");

        void AddRow(string name, long linear, long whole, Style? style) => table.AddCells(
            style, name, Numbers.Bytes(linear), Numbers.Bytes(whole), Numbers.Ratio((double)linear / int8.LinearCheckpointBytes));
    }

    private static void ShowPerplexity(CommandContext context, IReadOnlyList<SchemeResult> results, (string Reference, string Naive) names)
    {
        SchemeResult reference = results.First(result => result.Scheme.Name == names.Reference);
        SchemeResult naive = results.First(result => result.Scheme.Name == names.Naive);
        SchemeResult chosen = results.First(static result => result.Scheme.Name == Chosen);
        context.Heading($"Perplexity: {Numbers.Count(reference.TokensScored)} tokens, lower is better");
        // Where descriptions would wrap, every row would take two lines.
        bool describe = context.OutputConsole.Profile.Width >= WidthForDescriptions;
        Table table = describe
            ? Report.CreateTable(context, "scheme", ">perplexity", $">against {names.Reference}", ">time", "what it is")
            : Report.CreateTable(context, "scheme", ">perplexity", $">against {names.Reference}", ">time");
        foreach (SchemeResult result in results)
        {
            string[] cells =
            [
                result.Scheme.Name,
                Numbers.Perplexity(result.Perplexity),
                Numbers.Change(result.Perplexity, reference.Perplexity),
                Numbers.Seconds(result.Seconds),
            ];
            Style? style = result == chosen ? new Style(Color.Green) : result == naive ? new Style(Color.Red) : null;
            table.AddCells(style, describe ? [.. cells, result.Scheme.Description] : cells);
        }

        context.Show(table);
        context.Sentence(
            $"{Chosen} is within {Numbers.Distance(chosen.Perplexity, reference.Perplexity)} of {names.Reference}; naive int8 ({names.Naive}) is off by {Numbers.Distance(naive.Perplexity, reference.Perplexity)}. The larger a model, the larger its outliers, and with them the difference.");
    }

    private static void ShowText(CommandContext context, LoadedModel int8, Tokenizer tokenizer, string prompt, int[] ids, int maxNewTokens)
    {
        context.Heading($"A text by the int8 model ({Chosen})");
        GenerationOptions options = new() { MaxNewTokens = maxNewTokens, Temperature = 0.8f, TopP = 0.9f, Seed = 3 };
        Write(prompt);
        GenerationResult result = GenerationRun.Run(
            "--prompt", int8, tokenizer, ids, options, Write, context.Cancellation);
        context.Output.WriteLine();
        context.Output.WriteLine();
        context.Sentence(
            Numbers.Invariant($"{result.Tokens.Count} tokens at {result.TokensPerSecond:0} tokens/s."), new Style(Color.Grey));
        void Write(string piece) => context.Output.Write(context.OutputIsTerminal ? TerminalText.Clean(piece) : piece);
    }
}
