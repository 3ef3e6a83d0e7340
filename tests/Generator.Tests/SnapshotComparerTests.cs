using KernelGen.Tests;
using Xunit.Sdk;

namespace KernelGen.Generator.Tests;

/// <summary>The comparer itself: a snapshot that could not fail would prove nothing.</summary>
public sealed class SnapshotComparerTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("snapshots").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_difference_is_shown_as_a_diff_and_received_beside_the_verified_file()
    {
        Write("Page.verified.txt", "one\ntwo\nthree\n");
        FailException failure = Assert.Throws<FailException>(() => Verify("one\n2\nthree\n"));
        Assert.Contains("\n-two\n+2\n", failure.Message.Replace("\r", string.Empty, StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains(Snapshot.AcceptVariable, failure.Message, StringComparison.Ordinal);
        Assert.Equal("one\n2\nthree\n", Read("Page.received.txt"));
        Assert.Equal("one\ntwo\nthree\n", Read("Page.verified.txt"));
    }

    [Fact]
    public void A_missing_snapshot_fails_even_for_empty_text()
    {
        Assert.Throws<FailException>(() => Verify(string.Empty));
        Assert.False(File.Exists(Path.Combine(folder, "Page.verified.txt")));
    }

    [Fact]
    public void A_match_removes_the_received_file()
    {
        Write("Page.verified.txt", "one\n");
        Write("Page.received.txt", "old\n");
        Verify("one\n");
        Assert.False(File.Exists(Path.Combine(folder, "Page.received.txt")));
    }

    [Fact]
    public void Accepting_rewrites_the_verified_file()
    {
        Write("Page.verified.txt", "one\n");
        Write("Page.received.txt", "two\n");
        new Snapshot(folder, "tests").Verify("Page", "txt", "two\n", accept: true);
        Assert.Equal("two\n", Read("Page.verified.txt"));
        Assert.False(File.Exists(Path.Combine(folder, "Page.received.txt")));
    }

    private void Verify(string text) => new Snapshot(folder, "tests").Verify("Page", "txt", text, accept: false);

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(folder, name), text);

    private string Read(string name) => File.ReadAllText(Path.Combine(folder, name));
}
