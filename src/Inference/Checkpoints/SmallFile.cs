namespace KernelGen.Inference.Checkpoints;

/// <summary>Reads the JSON files beside the weights whole, within a limit.</summary>
internal static class SmallFile
{
    /// <summary>Reads a file of at most <paramref name="mostBytes"/> bytes.</summary>
    /// <exception cref="CheckpointException">The file is missing, unreadable or larger.</exception>
    public static byte[] ReadAll(string path, int mostBytes)
    {
        try
        {
            long length = LengthBeforeOpening(path);
            if (length is 0 || length > mostBytes)
            {
                throw CheckpointException.For(
                    path, $"the file has {length} bytes, 1 to {mostBytes} were expected.", "Download or save it again.");
            }

            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            byte[] content = new byte[length];
            stream.ReadExactly(content);
            // Some editors put a byte order mark before JSON, which the JSON reader does not take.
            return content.AsSpan().StartsWith("\uFEFF"u8) ? content[3..] : content;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CheckpointException.For(
                path, $"the file cannot be read ({exception.Message}).", "Check that it exists and that you may read it.", exception);
        }
    }

    /// <summary>
    /// The length of a file, or of what a link leads to, in bytes. Asked for before opening, because opening a pipe would wait for a
    /// writer; pipes and devices have the length 0.
    /// </summary>
    /// <exception cref="IOException">There is no such file, or its links lead in a circle.</exception>
    public static long LengthBeforeOpening(string path)
    {
        FileInfo file = new(path);
        // The length of a link itself is that of the path it holds.
        return file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target ? target.Length : file.Length;
    }
}
