namespace KernelGen.Tests;

/// <summary>Where the tests find the repository's own files and, where a checkout has it, the folder of larger shared ones beside it.</summary>
internal static class RepositoryPaths
{
    /// <summary>The folder that holds KernelGen.sln.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The shared folder beside the repository, or null when this checkout has none; tests that need it skip then.</summary>
    public static string? Shared { get; } = FindShared();

    /// <summary>The folder of a model that is bundled with the repository, such as <c>opt-1.5m</c>.</summary>
    public static string Model(string name) => Path.Combine(Root, "models", name);

    /// <summary>The folder of a shared model, such as <c>opt-30m-outliers</c> or <c>families/opt-pre-ln</c>, or null when it is absent.</summary>
    public static string? SharedModel(string name) =>
        Shared is not null && Path.Combine(Shared, "models", name) is string path && Directory.Exists(path) ? path : null;

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "KernelGen.sln")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException($"No folder above {AppContext.BaseDirectory} holds KernelGen.sln.");
    }

    private static string? FindShared()
    {
        string path = Path.GetFullPath(Path.Combine(Root, "..", "shared"));
        return Directory.Exists(path) ? path : null;
    }
}
