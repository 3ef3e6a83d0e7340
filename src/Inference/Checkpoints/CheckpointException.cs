using KernelGen.Messages;

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
        new($"{file}: tensor '{MessageText.Shorten(tensor)}': {problem} {remedy}");
}
