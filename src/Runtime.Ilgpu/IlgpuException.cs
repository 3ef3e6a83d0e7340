namespace KernelGen;

/// <summary>ILGPU or the driver below it failed; the message says at what and what may help.</summary>
public sealed class IlgpuException : Exception
{
    /// <summary>Wraps an error.</summary>
    /// <param name="message">What was attempted, and the remedy.</param>
    /// <param name="cause">What ILGPU threw.</param>
    public IlgpuException(string message, Exception cause)
        : base($"{message} ILGPU says: {Innermost(cause)}", cause)
    {
    }

    private static string Innermost(Exception exception) =>
        exception.InnerException is { } inner ? Innermost(inner) : $"{exception.GetType().Name}: {exception.Message}";
}
