using System.CommandLine;
using System.Globalization;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen generate</c>: continues a prompt.</summary>
internal static class GenerateCommand
{
    private const string DefaultScheme = "llm-int8";

    public static Command Create(CommandContext context)
    {
        Option<string?> model = SharedOptions.Model();
        Option<string?> prompt = OptionFactory.Text("--prompt", "TEXT", "The text to continue.");
        Option<string?> promptIds = OptionFactory.Text("--prompt-ids", "1,2,3", "The token ids to continue, instead of a text.");
        Option<int?> maxNewTokens = OptionFactory.WholeNumber("--max-new-tokens", "N", "Most tokens to generate; 128 unless given.", 1);
        Option<string?> scheme = OptionFactory.Text(SchemeOption.Name, "S", $"The scheme, {DefaultScheme} unless given: {SchemeOption.Names}.");
        Option<float?> temperature = OptionFactory.Number(
            "--temperature", "T", "Divides the logits; 0, the default, always takes the most probable token.", "a number from 0", static value => value >= 0);
        Option<float?> topP = OptionFactory.Number(
            "--top-p", "P", "Draws from the most probable tokens that reach this probability together; 1 unless given.",
            "a number over 0 and at most 1", static value => value is > 0 and <= 1);
        Option<int?> seed = OptionFactory.WholeNumber("--seed", "N", "Start of the random numbers, 0 unless given.", 0);
        Option<float?> threshold = SharedOptions.Threshold();
        Option<int?> threads = SharedOptions.Threads();
        Option<string?> device = DeviceOption.CreateForModels();
        Option<string?> cache = CacheOption.Create();
        Option<bool> json = SharedOptions.Json("One JSON object with token_ids (the new ones), text, tokens_per_second and more.");
        Command command = new("generate", "Continues a text.")
        {
            model, prompt, promptIds, maxNewTokens, scheme, temperature, topP, seed, threshold, threads, device, cache, json,
        };
        command.SetAction(parsed =>
        {
            GenerationOptions options = new()
            {
                Temperature = parsed.GetValue(temperature) ?? 0,
                TopP = parsed.GetValue(topP) ?? 1,
                Seed = parsed.GetValue(seed) ?? 0,
            };
            if (parsed.GetValue(maxNewTokens) is int most)
            {
                options = options with { MaxNewTokens = most };
            }

            if (options is { Temperature: 0, TopP: < 1 })
            {
                throw new BadInputException("--top-p: it changes nothing at temperature 0, which always takes the most probable token. Add --temperature 1, or leave it out.");
            }

            ModelDevices? devices = DeviceOption.ParseForModels(parsed.GetValue(device));
            Run(
                context,
                parsed.GetValue(model)!,
                parsed.GetValue(prompt),
                parsed.GetValue(promptIds),
                SchemeOption.Parse(parsed.GetValue(scheme) ?? DefaultScheme),
                options,
                new ModelSettings(parsed.GetValue(threshold), parsed.GetValue(threads), devices, Cache: CacheOption.Parse(parsed.GetValue(cache), devices)),
                parsed.GetValue(json));
            return ExitCodes.Ok;
        });
        return command;
    }

    private static void Run(
        CommandContext context,
        string model,
        string? prompt,
        string? promptIds,
        QuantizationScheme scheme,
        GenerationOptions options,
        ModelSettings settings,
        bool json)
    {
        if (prompt is null == promptIds is null)
        {
            throw new BadInputException(prompt is null
                ? "--prompt: a text is needed. Give --prompt TEXT, or --prompt-ids with token ids."
                : "--prompt and --prompt-ids: both were given. Give one of them.");
        }

        string subject = prompt is null ? "--prompt-ids" : "--prompt";
        SchemeOption.CheckThreshold(settings.Threshold, [scheme]);
        DeviceOption.Check(scheme, settings.Devices);
        string folder = InputFiles.ModelFolder("--model", model);
        int[]? ids = promptIds is null ? null : ParseIds(subject, promptIds);
        if (prompt is "")
        {
            throw new BadInputException($"{subject}: it is empty. Give at least one character.");
        }

        // Ids can do without a tokenizer; the text is unknown then.
        Tokenizer? tokenizer = prompt is null && !File.Exists(Path.Combine(folder, "tokenizer.json")) ? null : Tokenizer.Load(folder);
        ids ??= tokenizer!.Encode(prompt, addSpecialTokens: true);
        using LoadedModel loaded = ProgressBars.Run(context, json, bars => LoadedModel.ForGeneration(
            folder, scheme, settings, (long)ids.Length + options.MaxNewTokens, bars.Start($"loading as {scheme.Name}"), context.Cancellation));
        if (loaded.Placement is { } placement && !json)
        {
            context.Note(placement);
        }

        GenerationResult result = json
            ? GenerationRun.Run(subject, loaded, tokenizer, ids, options, static _ => { }, context.Cancellation)
            : Stream(context, subject, loaded, tokenizer, ids, options);
        if (json)
        {
            WriteJson(context, scheme, ids.Length, result, loaded);
        }
    }

    private static int[] ParseIds(string subject, string text)
    {
        string[] parts = text.Split(',');
        int[] ids = new int[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            if (!int.TryParse(parts[i], NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite | NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out ids[i]))
            {
                throw new BadInputException($"{subject}: '{parts[i]}' is not a token id. Give whole numbers with commas between them, such as 1,2,3.");
            }
        }

        return ids;
    }

    private static GenerationResult Stream(
        CommandContext context, string subject, LoadedModel loaded, Tokenizer? tokenizer, int[] ids, GenerationOptions options)
    {
        bool lineIsOpen = false;
        if (tokenizer is not null && context.OutputIsTerminal)
        {
            context.OutputConsole.Write(new Spectre.Console.Text(TerminalText.Clean(tokenizer.Decode(ids)), new Spectre.Console.Style(Spectre.Console.Color.Grey)));
            lineIsOpen = true;
        }

        try
        {
            GenerationResult result = GenerationRun.Run(subject, loaded, tokenizer, ids, options, Write, context.Cancellation);
            if (tokenizer is null)
            {
                Write(string.Join(',', result.Tokens));
            }

            if (context.ErrorIsTerminal)
            {
                EndLine();
                context.Error.WriteLine();
                context.Error.WriteLine(Numbers.Invariant(
                    $"{result.Tokens.Count} tokens in {result.Seconds:0.00} s, {result.TokensPerSecond:0.0} tokens/s (first after {result.FirstTokenSeconds:0.00} s)"));
            }

            return result;
        }
        finally
        {
            // Also where Ctrl-C ended it, so that the shell's prompt begins a line.
            EndLine();
        }

        void Write(string piece)
        {
            if (piece.Length > 0)
            {
                context.Output.Write(context.OutputIsTerminal ? TerminalText.Clean(piece) : piece);
                lineIsOpen = true;
            }
        }

        void EndLine()
        {
            if (lineIsOpen)
            {
                context.Output.WriteLine();
                lineIsOpen = false;
            }
        }
    }

    private static void WriteJson(CommandContext context, QuantizationScheme scheme, int promptTokens, GenerationResult result, LoadedModel loaded) =>
        JsonLine.Write(context.Output, writer =>
        {
            writer.WriteString("scheme", scheme.Name);
            writer.WriteNumber("prompt_tokens", promptTokens);
            writer.WriteNumbers("token_ids", result.Tokens);
            writer.WriteString("text", result.Text);
            writer.WriteString("finish_reason", result.Finish switch
            {
                FinishReason.EndOfSequence => "end_of_sequence",
                FinishReason.Context => "context",
                _ => "length",
            });
            writer.WriteNumber("seconds", Math.Round(result.Seconds, 4));
            writer.WriteNumber("first_token_seconds", Math.Round(result.FirstTokenSeconds, 4));
            writer.WriteNumber("tokens_per_second", Math.Round(result.TokensPerSecond, 2));
            writer.WriteNumber("model_bytes", loaded.Bytes);
            if (loaded.Placement is { } placement)
            {
                writer.WriteString("placement", placement);
            }
        });
}
