using System.Security.Cryptography;

namespace KernelGen.ConversionBench;

/// <summary>What a folder holds, for comparison.</summary>
internal static class FolderContent
{
    /// <summary>Every file's path and SHA-256, sorted; null if there is no such folder.</summary>
    public static string? Describe(string folder) => !Directory.Exists(folder) ? null : string.Join('\n', Directory
        .EnumerateFileSystemEntries(folder, "*", SearchOption.AllDirectories)
        .Order(StringComparer.Ordinal)
        .Select(path => $"{Path.GetRelativePath(folder, path)} {(File.Exists(path) ? Hash(path) : "folder")}"));

    public static long Bytes(string folder) => !Directory.Exists(folder) ? 0 : Directory
        .EnumerateFiles(folder, "*", SearchOption.AllDirectories).Sum(static path => new FileInfo(path).Length);

    public static void Delete(string folder)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Hash(string path)
    {
        using FileStream stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
