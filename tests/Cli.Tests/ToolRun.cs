using System.Diagnostics;
using System.Text.Json;
using KernelGen.Cli.Output;
using KernelGen.Tests;

namespace KernelGen.Cli.Tests;

/// <summary>What a run of the tool gave.</summary>
internal sealed record ToolRun(int ExitCode, string Output, string Error)
{
    /// <summary>The bundled model.</summary>
    public static string Model { get; } = RepositoryPaths.Model("opt-1.5m");

    /// <summary>Its text.</summary>
    public static string Text { get; } = Path.Combine(Model, "text.txt");

    private static string ToolPath { get; } = Path.Combine(AppContext.BaseDirectory, "kernelgen.dll");

    /// <summary>Standard output, line by line, each parsed.</summary>
    public JsonElement[] JsonLines => [.. Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonElement.Parse(line))];

    /// <summary>Runs it in this process, as if piped.</summary>
    public static ToolRun InProcess(params string[] args) => InProcess(CancellationToken.None, args);

    /// <inheritdoc cref="InProcess(string[])"/>
    public static ToolRun InProcess(CancellationToken cancellation, params string[] args)
    {
        using StringWriter output = new() { NewLine = "\n" };
        using StringWriter error = new() { NewLine = "\n" };
        int exitCode = KernelGenTool.Run(args, new CommandContext(output, error, false, false, cancellation));
        return new ToolRun(exitCode, output.ToString(), error.ToString());
    }

    /// <summary>Runs it as a process of its own.</summary>
    public static ToolRun AsProcess(string workingDirectory, params string[] args) =>
        Run(new ProcessStartInfo("dotnet", [ToolPath, .. args]) { WorkingDirectory = workingDirectory });

    /// <summary>Runs a line of shell, in which <c>$KERNELGEN</c> is the tool and <c>$MODEL</c> the bundled model.</summary>
    public static ToolRun InShell(string script)
    {
        ProcessStartInfo start = new("bash", ["-c", script]);
        start.Environment["KERNELGEN"] = $"dotnet {ToolPath}";
        start.Environment["MODEL"] = Model;
        return Run(start);
    }

    private static ToolRun Run(ProcessStartInfo start)
    {
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        process.WaitForExit();
        return new ToolRun(process.ExitCode, output.Result, error.Result);
    }
}
