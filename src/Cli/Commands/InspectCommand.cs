using System.CommandLine;
using KernelGen.Cli.Devices;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using Spectre.Console;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen inspect DIR</c>: what is in a checkpoint, what quantizing makes of it, and where it fits.</summary>
internal static class InspectCommand
{
    /// <summary>More names of missing tensors than this tell nobody anything.</summary>
    private const int MostNamesShown = 5;

    public static Command Create(CommandContext context)
    {
        Argument<string> folder = new("DIR") { Description = "A checkpoint's folder in Hugging Face layout: config.json and safetensors." };
        Option<bool> json = SharedOptions.Json("One JSON object.");
        Command command = new("inspect", "Shows what is in a checkpoint, what would be quantized, its size in memory, and where that fits.") { folder, json };
        command.SetAction(parsed =>
        {
            CheckpointReport report = CheckpointReport.Read(parsed.GetValue(folder)!);
            (string Name, long MemoryBytes)[] devices =
            [
                ("cpu", CpuDevice.Describe().MemoryBytes),
                .. CudaDevice.All.Select(static device => ($"cuda:{device.Ordinal}", device.MemoryBytes)),
            ];
            if (parsed.GetValue(json))
            {
                Write(context, report, devices);
            }
            else
            {
                Show(context, report, devices);
            }

            return ExitCodes.Ok;
        });
        return command;
    }

    private static void Write(CommandContext context, CheckpointReport report, IReadOnlyList<(string Name, long MemoryBytes)> devices) => JsonLine.Write(context.Output, writer =>
    {
        writer.WriteString("path", report.Path);
        writer.WriteNumber("files", report.Files);
        writer.WriteString("family", report.Model?.Family);
        writer.WriteString("not_supported", report.NotSupported);
        writer.WriteNumber("parameters", report.Parameters);
        writer.WriteStartArray("types");
        foreach (TensorTypeShare type in report.Types)
        {
            writer.WriteStartObject();
            writer.WriteString("type", type.Name);
            writer.WriteNumber("tensors", type.Tensors);
            writer.WriteNumber("elements", type.Elements);
            writer.WriteNumber("bytes", type.Bytes);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteStrings("missing", report.Missing);
        writer.WriteNumber("linear_layers", report.LinearLayers.Count);
        writer.WriteNumber("linear_parameters", report.LinearParameters);
        writer.WriteNumber("int8_layers", report.QuantizedLayers);
        writer.WriteNumber("bytes_16bit", report.SixteenBitBytes);
        writer.WriteNumber("bytes_int8", report.Int8Bytes);
        writer.WriteNumber("cache_bytes", report.CacheBytes);
        writer.WriteStartArray("devices");
        foreach ((string name, long memory) in devices)
        {
            writer.WriteStartObject();
            writer.WriteString("device", name);
            writer.WriteNumber("memory_bytes", memory);
            writer.WriteBoolean("fits_16bit", Fits(report.SixteenBitBytes, report, memory));
            writer.WriteBoolean("fits_int8", Fits(report.Int8Bytes, report, memory));
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });

    private static void Show(CommandContext context, CheckpointReport report, IReadOnlyList<(string Name, long MemoryBytes)> devices)
    {
        context.Sentence($"{report.Path}: {Numbers.Count(report.Parameters)} parameters in {Files(report)}");
        context.Sentence(report.Model is DecoderDescription model ? Shape(model) : $"not supported: {report.NotSupported}");
        Table types = Report.CreateTable(context, "type", ">tensors", ">elements", ">size");
        foreach (TensorTypeShare type in report.Types)
        {
            types.AddCells(null, type.Name, Numbers.Count(type.Tensors), Numbers.Count(type.Elements), Numbers.Bytes(type.Bytes));
        }

        context.Show(types);
        if (report.Missing.Count > 0)
        {
            string more = report.Missing.Count > MostNamesShown ? $" and {report.Missing.Count - MostNamesShown} more" : "";
            context.Sentence($"missing: {string.Join(", ", report.Missing.Take(MostNamesShown))}{more}");
        }

        if (report.Model is null)
        {
            return;
        }

        string already = report.QuantizedLayers == 0 ? "" : $", {report.QuantizedLayers} of them int8 already";
        context.Sentence($"quantized: {report.LinearLayers.Count} linear layers, {Numbers.Count(report.LinearParameters)} weights{already}");
        context.Sentence($"keys and values of a sequence of {Numbers.Count(report.Model.ContextLength)} tokens: {Numbers.Bytes(report.CacheBytes)}");
        Table sizes = Report.CreateTable(
            context, ["weights", ">size", .. devices.Select(static device => $"fits in {device.Name} ({Numbers.Bytes(device.MemoryBytes)}) with keys and values")]);
        Add("16 bit", report.SixteenBitBytes);
        Add("int8", report.Int8Bytes);
        context.Show(sizes);

        void Add(string name, long bytes) => sizes.AddCells(
            Report.StyleOf(devices.Any(device => Fits(bytes, report, device.MemoryBytes))),
            [name, Numbers.Bytes(bytes), .. devices.Select(device => Fits(bytes, report, device.MemoryBytes) ? "yes" : "no")]);
    }

    private static bool Fits(long bytes, CheckpointReport report, long memory) => bytes + report.CacheBytes <= memory;

    private static string Files(CheckpointReport report) => report.Files == 1 ? "one file" : $"{report.Files} files";

    private static string Shape(DecoderDescription model)
    {
        string heads = model.KeyValueHeads == model.Heads ? $"{model.Heads} heads" : $"{model.Heads} heads on {model.KeyValueHeads} of keys and values";
        return $"{model.Family}: {model.Layers.Count} layers, hidden size {model.HiddenSize}, {heads}, "
            + $"vocabulary {Numbers.Count(model.VocabularySize)}, context {Numbers.Count(model.ContextLength)}";
    }
}
