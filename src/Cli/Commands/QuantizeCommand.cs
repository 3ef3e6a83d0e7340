using System.CommandLine;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Conversion;
using KernelGen.Inference.Quantization;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen quantize</c>: converts a 16- or 32-bit checkpoint to int8, on disk.</summary>
internal static class QuantizeCommand
{
    public static Command Create(CommandContext context)
    {
        Option<string?> model = OptionFactory.Text(
            "--model", "DIR", "The 16- or 32-bit checkpoint's folder in Hugging Face layout; it is only read.", required: true);
        Option<string?> output = OptionFactory.Text(
            "--out",
            "DIR",
            "The folder to make; it appears when it is complete. Work is done in DIR.partial: after an interruption, the same command continues there.",
            required: true);
        Option<string?> scheme = OptionFactory.Text(
            SchemeOption.Name, "S", $"The scheme that the weights are meant for: one scale per output feature, or with absmax and absmax-row one in all; {ConversionOptions.DefaultScheme.Name} unless given.");
        Option<float?> threshold = SharedOptions.Threshold();
        Option<string?> fixedOutliers = OptionFactory.Text(
            "--fixed-outliers", "FILE", "JSON of calibrated outlier columns, { \"layer\": [columns], ... }; their 16-bit weights are stored as well, for the scheme llm-int8-fixed.");
        Option<string?> skip = OptionFactory.Text(
            "--skip", "NAME[,NAME...]", "Modules to leave as they are, by full name or by its last part (fc2). The output embedding always is.");
        Option<long?> shardSize = OptionFactory.Size("--shard-size", "B", "Most bytes per file, such as 500MB or 5GB; 2GB unless given.");
        Option<int?> threads = SharedOptions.Threads();
        Option<bool> json = SharedOptions.Json(
            "One JSON object: folder, quantized_layers, skipped_layers, source_bytes, output_bytes, linear_source_bytes, linear_output_bytes, shards, resumed_shards, seconds.");
        Command command = new("quantize", "Converts a checkpoint to int8 in the layout that transformers and bitsandbytes load.")
        {
            model, output, scheme, threshold, fixedOutliers, skip, shardSize, threads, json,
        };
        command.SetAction(parsed =>
        {
            QuantizationScheme chosen = parsed.GetValue(scheme) is string name ? SchemeOption.Parse(name) : ConversionOptions.DefaultScheme;
            if (string.IsNullOrEmpty(parsed.GetValue(output)))
            {
                throw new BadInputException("--out: '' is no folder. Name one that does not exist yet.");
            }

            SchemeOption.CheckThreshold(parsed.GetValue(threshold), [chosen]);
            ConversionOptions options = new()
            {
                Scheme = chosen,
                OutlierThreshold = parsed.GetValue(threshold),
                FixedOutliers = parsed.GetValue(fixedOutliers) is string file ? FixedOutlierSet.Load(file) : null,
                SkipModules = parsed.GetValue(skip)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [],
                ShardBytes = parsed.GetValue(shardSize) ?? ConversionOptions.DefaultShardBytes,
                MaxDegreeOfParallelism = parsed.GetValue(threads) ?? -1,
            };
            Run(context, InputFiles.ModelFolder("--model", parsed.GetValue(model)!), parsed.GetValue(output)!, options, parsed.GetValue(json));
            return ExitCodes.Ok;
        });
        return command;
    }

    private static void Run(CommandContext context, string model, string output, ConversionOptions options, bool json)
    {
        ConversionResult result = ProgressBars.Run(context, json, bars =>
        {
            BarProgress progress = new(bars.Start("reading the checkpoint"));
            return BadInputException.Check(
                SchemeOption.Name,
                () => CheckpointConverter.ConvertAsync(model, output, options, progress, context.Cancellation).GetAwaiter().GetResult());
        });
        if (json)
        {
            JsonLine.Write(context.Output, writer =>
            {
                writer.WriteString("folder", result.Folder);
                writer.WriteNumber("quantized_layers", result.QuantizedLayers);
                writer.WriteNumber("skipped_layers", result.SkippedLayers);
                writer.WriteNumber("source_bytes", result.SourceBytes);
                writer.WriteNumber("output_bytes", result.OutputBytes);
                writer.WriteNumber("linear_source_bytes", result.LinearSourceBytes);
                writer.WriteNumber("linear_output_bytes", result.LinearOutputBytes);
                writer.WriteNumber("shards", result.Shards);
                writer.WriteNumber("resumed_shards", result.ResumedShards);
                writer.WriteNumber("seconds", Math.Round(result.Elapsed.TotalSeconds, 3));
            });
            return;
        }

        string resumed = result.ResumedShards == 0 ? "" : $" ({result.ResumedShards} of them finished by an earlier run)";
        context.Sentence(Numbers.Invariant(
            $"{result.QuantizedLayers} linear layers: {Numbers.Bytes(result.LinearSourceBytes)} -> {Numbers.Bytes(result.LinearOutputBytes)}. Whole checkpoint: {Numbers.Bytes(result.SourceBytes)} -> {Numbers.Bytes(result.OutputBytes)} in {result.Shards} file(s){resumed}, {Numbers.Seconds(result.Elapsed.TotalSeconds)}."));
        context.Sentence($"{TerminalText.Clean(result.Folder)} is ready for 'kernelgen eval', 'kernelgen generate', and transformers with bitsandbytes.");
    }

    /// <summary>Shows a conversion's bytes, rate and time left.</summary>
    private sealed class BarProgress(ProgressReporter bar) : IProgress<ConversionProgress>
    {
        public void Report(ConversionProgress value)
        {
            string left = value.TimeLeft is { } time ? Numbers.Invariant($", {time:hh\\:mm\\:ss} left") : "";
            bar.Report(value.BytesTotal == 0 ? 0 : (double)value.BytesDone / value.BytesTotal);
            bar.Describe(
                $"{Numbers.Bytes(value.BytesDone)} of {Numbers.Bytes(value.BytesTotal)}, {Numbers.Bytes((long)value.BytesPerSecond)}/s{left}: {TerminalText.Clean(value.Stage)}");
        }
    }
}
