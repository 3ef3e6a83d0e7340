namespace KernelGen.Cli.Errors;

/// <summary>The user's input cannot be used. The message names the file or option, the value, and what to do about it.</summary>
internal sealed class BadInputException(string message, Exception? innerException = null) : Exception(message, innerException)
{
    /// <summary>Calls the library with values that the user chose; what it says against them is the user's to read.</summary>
    /// <param name="subject">The option or file that the values come from.</param>
    /// <param name="call">The call.</param>
    public static T Check<T>(string subject, Func<T> call)
    {
        try
        {
            return call();
        }
        catch (ArgumentException exception)
        {
            throw new BadInputException($"{subject}: {MessageOf(exception)}", exception);
        }
    }

    /// <summary>The message without what .NET appends for programmers: the parameter's name and the value.</summary>
    private static string MessageOf(ArgumentException exception)
    {
        int appended = exception.ParamName is null
            ? -1
            : exception.Message.IndexOf($" (Parameter '{exception.ParamName}')", StringComparison.Ordinal);
        return appended < 0 ? exception.Message : exception.Message[..appended];
    }
}
