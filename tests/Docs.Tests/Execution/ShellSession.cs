using System.Diagnostics;
using System.Text;

namespace KernelGen.Docs.Tests.Execution;

/// <summary>One bash that runs a page's commands one after the other, as a reader's terminal does: folders, variables and aliases stay.</summary>
internal sealed class ShellSession : IDisposable
{
    private const string EndMark = "\u0001end ";

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    private readonly Process _process;

    public ShellSession(string folder, IReadOnlyDictionary<string, string> variables)
    {
        ProcessStartInfo start = new("bash", ["--noprofile", "--norc"])
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = new UTF8Encoding(false),
        };

        // The test host's own settings are none of the reader's; nodes that outlive the test would hold its files.
        foreach (string name in start.Environment.Keys.Where(static name => name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToArray())
        {
            start.Environment.Remove(name);
        }

        foreach ((string name, string value) in variables)
        {
            start.Environment[name] = value;
        }

        _process = Process.Start(start)!;
        _process.ErrorDataReceived += static (_, _) => { };
        _process.BeginErrorReadLine();
        Send("shopt -s expand_aliases");
    }

    /// <summary>Runs a command; returns its exit code and both its streams, as a terminal shows them.</summary>
    public (int ExitCode, string Output) Run(string command)
    {
        Send($"{{ {command}\n}} < /dev/null 2>&1; printf '\\n\\001end %d\\n' $?");
        Task<(int, string)> reading = Task.Run(ReadToEndMark);
        if (!reading.Wait(Limit))
        {
            _process.Kill(entireProcessTree: true);
            Assert.Fail($"'{command}' did not end within {Limit}.");
        }

        return reading.Result;
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
        }

        _process.Dispose();
    }

    private void Send(string text)
    {
        _process.StandardInput.Write(text + "\n");
        _process.StandardInput.Flush();
    }

    private (int, string) ReadToEndMark()
    {
        StringBuilder output = new();
        while (_process.StandardOutput.ReadLine() is { } line)
        {
            if (line.StartsWith(EndMark, StringComparison.Ordinal))
            {
                // The end mark has a line of its own, whether or not the output ended with one.
                string text = output.ToString();
                return (int.Parse(line[EndMark.Length..], System.Globalization.CultureInfo.InvariantCulture), text.EndsWith("\n\n", StringComparison.Ordinal) ? text[..^1] : text);
            }

            output.Append(line).Append('\n');
        }

        return (-1, output + "(the shell ended: is the command whole?)\n");
    }
}
