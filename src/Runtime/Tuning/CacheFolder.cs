namespace KernelGen.Tuning;

/// <summary>Where this user's files that can be made again are kept.</summary>
internal static class CacheFolder
{
    /// <summary>The environment variable that overrides the system's place.</summary>
    public const string Variable = "KERNELGEN_CACHE";

    /// <summary><c>KERNELGEN_CACHE</c>, or <c>kernelgen</c> in LOCALAPPDATA on Windows, else in XDG_CACHE_HOME or ~/.cache; null where there is no home.</summary>
    public static string? Find()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } chosen)
        {
            return Path.GetFullPath(chosen);
        }

        // The XDG base directory specification: a path that is not absolute is to be ignored.
        string folder = OperatingSystem.IsWindows()
            ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
            : Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { } xdg && Path.IsPathRooted(xdg)
                ? xdg
                : Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 0 } home ? Path.Combine(home, ".cache") : "";
        return folder.Length == 0 ? null : Path.Combine(folder, "kernelgen");
    }
}
