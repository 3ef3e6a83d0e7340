using System.CommandLine;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using Spectre.Console;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen kernels</c>: the generated variants of every spec, and the combinations that were dropped.</summary>
internal static class KernelsCommand
{
    public static Command Create(CommandContext context)
    {
        Option<string?> spec = OptionFactory.Text(
            "--spec", "NAME", $"One spec only; all unless given: {KernelSpecs.Names}.");
        Option<bool> json = SharedOptions.Json("One JSON object per variant and line: spec, kernel, target, needs, available, dropped.");
        Command command = new("kernels", "Lists every kernel variant with its needs, and why others were dropped.") { spec, json };
        command.SetAction(parsed =>
        {
            foreach (Int8KernelSet set in parsed.GetValue(spec) is string name ? [KernelSpecs.Find(name)] : KernelSpecs.All)
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
            writer.WriteString("spec", KernelSpecs.ShortName(set));
            writer.WriteString("kernel", kernel);
            writer.WriteString("target", target);
            writer.WriteString("needs", needs);
            writer.WriteBoolean("available", available);
            writer.WriteString("dropped", dropped);
        });
    }

    private static void Show(CommandContext context, Int8KernelSet set)
    {
        context.Heading(KernelSpecs.ShortName(set));
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
