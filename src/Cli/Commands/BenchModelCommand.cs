using System.CommandLine;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Benchmarks;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen bench-model</c>: times a whole model on a GPU, its own or one of random weights in a published model's shape.</summary>
internal static class BenchModelCommand
{
    private const string DefaultBatches = "1,8,32", DefaultDevice = "cuda:0", DefaultScheme = "llm-int8";

    private const int DefaultContext = 256, DefaultPrompt = 2047;

    public static Command Create(CommandContext context)
    {
        Option<string?> shape = OptionFactory.Text("--shape", "NAME", $"The model's shape: {string.Join(", ", ModelShapes.Names)}.");
        Option<bool> random = OptionFactory.Switch("--random-weights", "Random weights with six outlier features in every norm; needed with --shape.");
        Option<string?> model = OptionFactory.Text("--model", "DIR", "A checkpoint's folder, instead of a shape.");
        Option<string?> batch = OptionFactory.Text("--batch", "B[,B...]", $"Texts that are decoded together; {DefaultBatches} unless given.");
        Option<int?> length = OptionFactory.WholeNumber("--context", "N", $"Positions in the cache when decoding begins; {DefaultContext} unless given.", 1);
        Option<int?> prompt = OptionFactory.WholeNumber(
            "--prefill", "N", $"Tokens of the prompt that is timed; {DefaultPrompt}, or the model's context if that is less, unless given; 0 for none.", 0);
        Option<string?> scheme = OptionFactory.Text(
            SchemeOption.Name, "S[,S...]", $"Schemes, {DefaultScheme} unless given: {string.Join(", ", QuantizationScheme.OnDevices.Select(static one => one.Name))}.");
        Option<string?> device = DeviceOption.CreateForModels();
        Option<string?> cache = CacheOption.Create();
        Option<bool> json = SharedOptions.Json("One JSON object per measurement and line.");
        Command command = new("bench-model", "Times a whole model on a GPU: loading, prompts, and decoding in batches.")
        {
            shape, random, model, batch, length, prompt, scheme, device, cache, json,
        };
        command.SetAction(parsed =>
        {
            (DecoderDescription description, string? folder, string name) = Find(parsed.GetValue(shape), parsed.GetValue(random), parsed.GetValue(model));
            ModelBenchmarkOptions options = new()
            {
                Batches = [.. (parsed.GetValue(batch) ?? DefaultBatches).Split(',').Select(static text => WholeNumber("--batch", text))],
                Context = parsed.GetValue(length) ?? DefaultContext,
                Prompt = Math.Min(parsed.GetValue(prompt) ?? DefaultPrompt, description.ContextLength),
            };
            if (options.Context + options.Steps + 1 > description.ContextLength)
            {
                throw new BadInputException(
                    $"--context: {options.Context} positions and {options.Steps} steps exceed the model's context of {description.ContextLength}. Use at most {description.ContextLength - options.Steps - 1}.");
            }

            IReadOnlyList<QuantizationScheme> schemes = SchemeOption.ParseList(parsed.GetValue(scheme) ?? DefaultScheme);
            ModelDevices gpus = DeviceOption.ParseForModels(parsed.GetValue(device) ?? DefaultDevice)
                ?? throw new BadInputException("--device: bench-model times a whole model on a GPU. Use cuda:0; on the processor, 'kernelgen eval' and 'kernelgen generate' show their speed.");
            foreach (QuantizationScheme one in schemes)
            {
                DeviceOption.Check(one, gpus);
            }

            if (gpus.WithProcessor && folder is null)
            {
                throw new BadInputException("--device: the processor's layers come from a checkpoint. Give --model DIR instead of --shape, or GPUs alone.");
            }

            foreach (QuantizationScheme one in schemes)
            {
                Run(context, gpus, description, folder, name, one, options with { Cache = CacheOption.Parse(parsed.GetValue(cache), gpus) }, parsed.GetValue(json));
            }

            return ExitCodes.Ok;
        });
        return command;
    }

    private static (DecoderDescription Description, string? Folder, string Name) Find(string? shape, bool random, string? model)
    {
        if (shape is null == model is null)
        {
            throw new BadInputException(shape is null
                ? $"--shape: what to time is missing. Give --shape with one of {string.Join(", ", ModelShapes.Names)}, or --model DIR."
                : "--shape and --model: both were given. Give one of them.");
        }

        if (model is not null)
        {
            return random
                ? throw new BadInputException("--random-weights: --model has weights of its own. Give --shape instead, or leave it out.")
                : (ModelFamilies.Describe(ConfigReader.Open(InputFiles.ModelFolder("--model", model))), model, Path.GetFileName(Path.GetFullPath(model)));
        }

        DecoderDescription description = ModelShapes.Find(shape!)
            ?? throw new BadInputException($"--shape: there is no '{shape}'. Use one of {string.Join(", ", ModelShapes.Names)}.");
        return random
            ? (description, null, shape!)
            : throw new BadInputException("--random-weights: a shape has no weights of its own. Add --random-weights, or give --model DIR.");
    }

    private static void Run(
        CommandContext context,
        ModelDevices devices,
        DecoderDescription description,
        string? folder,
        string name,
        QuantizationScheme scheme,
        ModelBenchmarkOptions options,
        bool json)
    {
        using DeviceModel model = Load(devices, description, folder, scheme, options.ToDeviceOptions(), context.Cancellation);
        WriteLoading(context, name, scheme, devices, model, json);
        foreach (ModelTiming timing in ModelBenchmark.Run(model, options))
        {
            context.Cancellation.ThrowIfCancellationRequested();
            WriteTiming(context, name, scheme, devices, timing, json);
        }
    }

    private static DeviceModel Load(
        ModelDevices devices, DecoderDescription description, string? folder, QuantizationScheme scheme, DeviceOptions layout, CancellationToken cancellation)
    {
        try
        {
            return folder is null
                ? DeviceModel.Random(description, devices.Gpus, scheme.RequireCuda(), layout, cancellation)
                : DeviceModel.Load(folder, devices.Gpus, scheme, layout with { OffloadsToProcessor = devices.WithProcessor }, null, cancellation);
        }
        catch (NotSupportedException exception)
        {
            throw new BadInputException($"--device: {exception.Message}", exception);
        }
    }

    private static void WriteLoading(CommandContext context, string name, QuantizationScheme scheme, ModelDevices devices, DeviceModel model, bool json)
    {
        double seconds = model.LoadingTime.TotalSeconds, gigabytes = model.BytesUploaded / 1e9;
        using System.Diagnostics.Process process = System.Diagnostics.Process.GetCurrentProcess();
        long peak = process.PeakWorkingSet64;
        if (!json)
        {
            context.Sentence(Numbers.Invariant(
                $"{name}, {scheme.Name}, {devices.Name}: parameters {Numbers.Bytes(model.Bytes)}, {model.Bytes / (double)model.SixteenBitBytes:0.000} of 16 bits; loaded in {seconds:0.00} s, {gigabytes / seconds:0.0} GB/s"));
            if (PlacementText.Of(model.Placement) is { } where)
            {
                context.Sentence(where);
            }

            return;
        }

        JsonLine.Write(context.Output, writer =>
        {
            Head(writer, "load", name, scheme, devices);
            writer.WriteNumber("parameter_bytes", model.Bytes);
            writer.WriteNumber("sixteen_bit_bytes", model.SixteenBitBytes);
            writer.WriteNumber("linear_bytes", model.LinearBytes);
            writer.WriteNumber("planned_bytes", model.Memory.TotalBytes);
            writer.WriteNumber("seconds", Math.Round(seconds, 3));
            writer.WriteNumber("uploaded_bytes", model.BytesUploaded);
            writer.WriteNumber("gigabytes_per_second", Math.Round(gigabytes / seconds, 2));
            writer.WriteNumber("peak_host_bytes", peak);
            if (PlacementText.Of(model.Placement) is { } placement)
            {
                writer.WriteString("placement", placement);
                writer.WriteString("copies", model.CopiesDirectly switch { true => "direct", false => "staged", null => "none" });
            }
        });
        context.Output.Flush();
    }

    private static void WriteTiming(CommandContext context, string name, QuantizationScheme scheme, ModelDevices devices, ModelTiming timing, bool json)
    {
        if (!json)
        {
            context.Sentence(Numbers.Invariant(
                $"{timing.Operation,-8} batch {timing.Batch,4}, {timing.Context} positions before: {timing.MedianMilliseconds,9:0.000} ms (fastest {timing.MinimumMilliseconds:0.000}), {timing.TokensPerSecond:0.0} tokens/s"));
            return;
        }

        JsonLine.Write(context.Output, writer =>
        {
            Head(writer, timing.Operation, name, scheme, devices);
            writer.WriteNumber("batch", timing.Batch);
            writer.WriteNumber("tokens", timing.Tokens);
            writer.WriteNumber("context", timing.Context);
            writer.WriteNumber("ms_median", Math.Round(timing.MedianMilliseconds, 4));
            writer.WriteNumber("ms_min", Math.Round(timing.MinimumMilliseconds, 4));
            writer.WriteNumber("tokens_per_second", Math.Round(timing.TokensPerSecond, 2));
        });
        context.Output.Flush();
    }

    private static void Head(System.Text.Json.Utf8JsonWriter writer, string operation, string name, QuantizationScheme scheme, ModelDevices devices)
    {
        writer.WriteString("op", operation);
        writer.WriteString("shape", name);
        writer.WriteString("scheme", scheme.Name);
        writer.WriteString("device", devices.Name);
    }

    private static int WholeNumber(string option, string text) =>
        int.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out int value) && value is > 0 and <= 1024
            ? value
            : throw new BadInputException($"{option}: '{text}' is not a whole number from 1 to 1024.");
}
