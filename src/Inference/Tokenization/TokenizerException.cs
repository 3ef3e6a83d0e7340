using KernelGen.Messages;

namespace KernelGen.Inference.Tokenization;

/// <summary>A tokenizer file cannot be used. The message names the file, what is wrong in it, and what to do about it.</summary>
public sealed class TokenizerException : Exception
{
    /// <summary>Makes an exception with a message that names file, problem and remedy.</summary>
    /// <param name="message">The whole message.</param>
    /// <param name="innerException">What the operating system or the JSON reader said, if anything.</param>
    public TokenizerException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>A file whose contents contradict themselves or the format.</summary>
    internal static TokenizerException Invalid(string file, string problem, Exception? innerException = null) =>
        new($"{file}: {problem} Download or save the tokenizer again.", innerException);

    /// <summary>A valid file that uses a component which this implementation does not have.</summary>
    internal static TokenizerException Unsupported(string file, string section, string component) =>
        new($"{file}: the {section} '{MessageText.Shorten(component)}' is not supported. Use a tokenizer like those of GPT-2, OPT, BLOOM, GPT-NeoX, LLaMA or Qwen2.");

    /// <summary>A token as messages show it: quoted, and of bearable length.</summary>
    internal static string Quote(string token) => $"'{MessageText.Shorten(token)}'";
}
