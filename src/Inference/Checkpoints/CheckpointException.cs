namespace KernelGen.Inference.Checkpoints;

/// <summary>
/// A checkpoint, or a file beside it such as <c>config.json</c>, cannot be used. The message names the file, the tensor or key,
/// the value found there, and what to do about it.
/// </summary>
public sealed class CheckpointException : Exception
{
    /// <summary>Makes an exception with a message that names file, tensor, value and remedy.</summary>
    /// <param name="message">The whole message.</param>
    /// <param name="innerException">What the operating system or the JSON reader said, if anything.</param>
    public CheckpointException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>Composes the message from its parts: <c>file: problem remedy</c>.</summary>
    internal static CheckpointException For(string file, string problem, string remedy, Exception? innerException = null) =>
        new($"{file}: {problem} {remedy}", innerException);

    /// <summary>Composes the message from its parts: <c>file: tensor 'name': problem remedy</c>.</summary>
    internal static CheckpointException For(string file, string tensor, string problem, string remedy) =>
        new($"{file}: tensor '{Shorten(tensor)}': {problem} {remedy}");

    /// <summary>A value from a hostile file can be megabytes long and hold control characters; a message shows a line of it at most.</summary>
    internal static string Shorten(string value)
    {
        const int Longest = 120;
        ReadOnlySpan<char> shown = value.AsSpan(0, Math.Min(value.Length, Longest));
        string clean = string.Create(shown.Length, shown, static (target, source) =>
        {
            for (int i = 0; i < source.Length; i++)
            {
                target[i] = char.IsControl(source[i]) ? '\uFFFD' : source[i];
            }
        });
        return value.Length > Longest ? $"{clean}... ({value.Length} characters)" : clean;
    }
}
