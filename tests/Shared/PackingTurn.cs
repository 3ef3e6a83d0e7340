using System.Diagnostics;

namespace KernelGen.Tests;

/// <summary>Packing writes beside the projects, and tests of two assemblies pack: one at a time.</summary>
internal static class PackingTurn
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>Waits until no other process packs; disposing lets the next one.</summary>
    public static IDisposable Take()
    {
        string path = Path.Combine(Path.GetTempPath(), "kernelgen-packing.lock");
        for (long begun = Stopwatch.GetTimestamp(); ;)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (Stopwatch.GetElapsedTime(begun) < Limit)
            {
                Thread.Sleep(200);
            }
        }
    }
}
