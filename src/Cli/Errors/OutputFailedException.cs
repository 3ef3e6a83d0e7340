namespace KernelGen.Cli.Errors;

/// <summary>The input was fine and the work is done, but what it gave cannot be written. The message names the file or option, the value, and what to do about it.</summary>
internal sealed class OutputFailedException(string message, Exception innerException) : Exception(message, innerException);
