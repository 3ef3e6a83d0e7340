namespace KernelGen.Generator.Tests.Infrastructure;

/// <summary>Files of the repository that tests read: found from the test assembly upwards, since build paths may be mapped.</summary>
internal static class RepositoryFolder
{
    public static string Root { get; } = FindRoot();

    public static string PathOf(params string[] parts) => Path.Combine([Root, .. parts]);

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "KernelGen.sln")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new InvalidOperationException($"No folder above {AppContext.BaseDirectory} has KernelGen.sln.");
    }
}
