using System.Text;

namespace KernelGen.Inference.Tests;

/// <summary>A folder of a test's own, deleted in the end.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Root { get; } = Directory.CreateTempSubdirectory("kernelgen-test-").FullName;

    public string At(string name) => Path.Combine(Root, name);

    public string Write(string name, byte[] content)
    {
        // Overwritten in place: some file systems flush a file to disk that is emptied and written again, which makes fuzzing slow.
        using FileStream stream = new(At(name), FileMode.OpenOrCreate, FileAccess.Write);
        stream.Write(content);
        stream.SetLength(content.Length);
        return At(name);
    }

    public string Write(string name, string content) => Write(name, Encoding.UTF8.GetBytes(content));

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
