using System.CommandLine;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Kernels.Specs;
using Spectre.Console;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen kernels</c>: the generated variants of every spec, and the combinations that were dropped.</summary>
internal static class KernelsCommand
{
    private static readonly Int8KernelSet[] _specs =
    [
        LlmInt8.Kernels,
        LlmInt8Elements.Kernels,
        LlmInt8Fixed.Kernels,
        Absmax.Kernels,
        AbsmaxRow.Kernels,
        AbsmaxVector.Kernels,
        ZeroPointVector.Kernels,
    ];

    public static Command Create(CommandContext context)
    {
        Option<string?> spec = OptionFactory.Text(
            "--spec", "NAME", $"One spec only; all unless given: {string.Join(", ", _specs.Select(ShortName))}.");
        Option<bool> json = SharedOptions.Json("One JSON object per variant and line: spec, kernel, target, needs, available, dropped.");
        Command command = new("kernels", "Lists every kernel variant with its needs, and why others were dropped.") { spec, json };
        command.SetAction(parsed =>
        {
            foreach (Int8KernelSet set in parsed.GetValue(spec) is string name ? [Find(name)] : _specs)
            {
                if (parsed.GetValue(json))
                {
                    WriteJson(context, set);
                }
                else
                {
                    Show(context, set);
                }
            }

            return ExitCodes.Ok;
        });
        return command;
    }

    private static string ShortName(Int8KernelSet set) => set.Name[(set.Name.LastIndexOf('.') + 1)..];

    private static Int8KernelSet Find(string name) =>
        _specs.FirstOrDefault(set => name.Equals(set.Name, StringComparison.OrdinalIgnoreCase) || name.Equals(ShortName(set), StringComparison.OrdinalIgnoreCase))
        ?? throw new BadInputException($"--spec: there is no spec '{name}'. Use one of {string.Join(", ", _specs.Select(ShortName))}.");

    private static void WriteJson(CommandContext context, Int8KernelSet set)
    {
        foreach (KernelVariant variant in set.Variants)
        {
            Write(variant.Name, TargetName(variant.Target), variant.Needs, variant.Available, null);
        }

        foreach (DroppedVariant variant in set.Dropped)
        {
            Write(variant.Name, null, null, false, variant.Reason);
        }

        void Write(string kernel, string? target, string? needs, bool available, string? dropped) => JsonLine.Write(context.Output, writer =>
        {
            writer.WriteString("spec", ShortName(set));
            writer.WriteString("kernel", kernel);
            writer.WriteString("target", target);
            writer.WriteString("needs", needs);
            writer.WriteBoolean("available", available);
            writer.WriteString("dropped", dropped);
        });
    }

    private static void Show(CommandContext context, Int8KernelSet set)
    {
        context.Heading(ShortName(set));
        Table table = Report.CreateTable(context, "kernel", "target", "needs", "here");
        foreach (KernelVariant variant in set.Variants)
        {
            table.AddCells(Report.StyleOf(variant.Available), variant.Name, TargetName(variant.Target), variant.Needs, variant.Available ? "yes" : "no");
        }

        foreach (DroppedVariant variant in set.Dropped)
        {
            table.AddCells(Report.StyleOf(false), variant.Name, "", $"dropped: {variant.Reason}", "no");
        }

        context.Show(table);
    }

    private static string TargetName(KernelTargets target) => target switch
    {
        // While it is the only target, "all" is the same value.
        KernelTargets.Cpu => "cpu",
        _ => target.ToString().ToLowerInvariant(),
    };
}
