namespace KernelGen;

/// <summary>A file of calibrated outlier columns cannot be used. The message names the file, the layer, the value found there, and what to do about it.</summary>
public sealed class FixedOutlierSetException : Exception
{
    /// <summary>Makes an exception with a message that names file, layer, value and remedy.</summary>
    /// <param name="message">The whole message.</param>
    /// <param name="innerException">What the operating system or the JSON reader said, if anything.</param>
    public FixedOutlierSetException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
