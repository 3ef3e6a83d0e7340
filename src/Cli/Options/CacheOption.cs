using System.CommandLine;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Inference.Devices;

namespace KernelGen.Cli.Options;

/// <summary>The option that says how a GPU holds keys and values.</summary>
internal static class CacheOption
{
    private const string Name = "--kv", Half = "fp16", Int8 = "int8";

    public static Option<string?> Create() => OptionFactory.Text(Name, "F", $"Keys and values on a GPU: {Half}, the default, or {Int8}.");

    /// <summary>The format that was asked for.</summary>
    /// <exception cref="BadInputException">There is no such format, or no GPU that it would be of.</exception>
    public static CacheFormat Parse(string? format, ModelDevices? devices) => format switch
    {
        null => CacheFormat.Float16,
        _ when devices is null => throw new BadInputException($"{Name}: the processor holds keys and values in float32. Add --device cuda:0, or leave it out."),
        Half => CacheFormat.Float16,
        Int8 => CacheFormat.Int8,
        _ => throw new BadInputException($"{Name}: '{format}' is no format of keys and values. Use {Half} or {Int8}."),
    };
}
