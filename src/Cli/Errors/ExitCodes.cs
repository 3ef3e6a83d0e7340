namespace KernelGen.Cli.Errors;

/// <summary>What the process returns.</summary>
internal static class ExitCodes
{
    public const int Ok = 0;

    /// <summary>The input was fine, the work failed: a full disk, not enough memory, a defect of the tool.</summary>
    public const int Failed = 1;

    /// <summary>The command line or a file that it names cannot be used.</summary>
    public const int BadInput = 2;

    /// <summary>Stopped by Ctrl-C, as shells report it: 128 + SIGINT.</summary>
    public const int Interrupted = 130;

    /// <summary>Who read the output has closed it, as shells report it: 128 + SIGPIPE.</summary>
    public const int OutputClosed = 141;
}
