using System.Text;
using Microsoft.Win32.SafeHandles;

namespace KernelGen.Cli.Output;

/// <summary>The process's own output, opened so that a reader that went away is noticed.</summary>
internal static class StandardStreams
{
    private const int StandardOutput = 1;

    /// <summary>Without a byte order mark: what is piped is text, not a file.</summary>
    public static UTF8Encoding Utf8 { get; } = new(encoderShouldEmitUTF8Identifier: false);

    /// <summary>Opens standard output.</summary>
    /// <remarks>
    /// .NET's own stream swallows the error of a closed pipe, so <c>kernelgen eval ... | head -1</c> would compute on for nobody.
    /// Where the output is a pipe, its handle is written to instead; files keep .NET's stream, which respects their append mode.
    /// </remarks>
    public static Stream OpenOutput()
    {
        if (!OperatingSystem.IsWindows() && Console.IsOutputRedirected)
        {
            try
            {
                FileStream pipe = new(new SafeFileHandle(StandardOutput, ownsHandle: false), FileAccess.Write, bufferSize: 0);
                if (!pipe.CanSeek)
                {
                    return pipe;
                }
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException)
            {
                // Closed, or a kind of file that has no stream: .NET's own copes.
            }
        }

        return Console.OpenStandardOutput();
    }
}
