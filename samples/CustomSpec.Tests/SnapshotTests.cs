using System.Reflection;
using Xunit;

namespace CustomSpec.Tests;

/// <summary>What the generator wrote for <see cref="RowKernels"/>, held against what someone read and accepted.</summary>
public sealed class SnapshotTests
{
    [Fact]
    public void The_generated_manifest_is_the_verified_one()
    {
        string generated = Directory.GetFiles(Folder("Generated"), "CustomSpec.RowKernels.Kernels.g.cs", SearchOption.AllDirectories).Single();
        string text = File.ReadAllText(generated).ReplaceLineEndings("\n");
        string verified = Path.Combine(Folder("Snapshots"), "CustomSpec.RowKernels.Kernels.verified.cs"), received = verified.Replace(".verified.", ".received.", StringComparison.Ordinal);
        if (File.Exists(verified) && File.ReadAllText(verified).ReplaceLineEndings("\n") == text)
        {
            File.Delete(received);
            return;
        }

        File.WriteAllText(received, text);
        Assert.Fail($"The generated manifest is not the verified one. Compare the files; if the change is meant, rename {received} to {Path.GetFileName(verified)}.");
    }

    private static string Folder(string name) => typeof(SnapshotTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(attribute => attribute.Key == name).Value!;
}
