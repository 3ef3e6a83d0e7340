using System.Text;
using KernelGen.Cli.Errors;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Cli.Models;

/// <summary>Files and folders that the user names, checked before any work begins.</summary>
internal static class InputFiles
{
    private static readonly UTF8Encoding _strictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>A model's folder.</summary>
    /// <exception cref="BadInputException">It is missing or not a folder.</exception>
    public static string ModelFolder(string option, string path)
    {
        if (Directory.Exists(path))
        {
            return path;
        }

        throw new BadInputException(File.Exists(path)
            ? $"{option}: '{path}' is a file. Name the folder that holds it, with config.json and tokenizer.json."
            : $"{option}: there is no folder '{path}'. Name the folder of a checkpoint, with config.json beside the weights.");
    }

    /// <summary>A text file's content.</summary>
    /// <exception cref="BadInputException">It is missing, a folder, a pipe, a device, empty, unreadable, or not UTF-8.</exception>
    public static string ReadText(string option, string path)
    {
        if (Directory.Exists(path))
        {
            throw new BadInputException($"{option}: '{path}' is a folder. Name a text file.");
        }

        byte[] bytes;
        try
        {
            // Reading a pipe would wait for whoever writes it, without an end to be told of, and a device may have none.
            if (SmallFile.LengthBeforeOpening(path) == 0)
            {
                throw new BadInputException($"{option}: '{path}' is empty, or a pipe or device. Name a file; what comes from a pipe can be saved to one first.");
            }

            bytes = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException or ArgumentException)
        {
            throw new BadInputException($"{option}: there is no file '{path}'. Name a text file in UTF-8.", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"{option}: '{path}' cannot be read ({exception.Message}). Check that you may read it.", exception);
        }

        // A byte order mark is not part of the text.
        ReadOnlySpan<byte> text = bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? bytes.AsSpan(Encoding.UTF8.Preamble.Length) : bytes;
        try
        {
            return _strictUtf8.GetString(text);
        }
        catch (DecoderFallbackException exception)
        {
            int offset = exception.Index + bytes.Length - text.Length;
            throw new BadInputException($"{option}: '{path}' is not UTF-8: byte {offset} is 0x{bytes[offset]:X2}. Convert it to UTF-8.", exception);
        }
    }
}
