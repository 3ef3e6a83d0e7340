using KernelGen.Inference.Checkpoints;
using Xunit;

namespace KernelGen.Inference.Tests.Checkpoints;

/// <summary>Folders, indexes and links that are refused, and the odd ones that must work.</summary>
public sealed class RejectedFolderTests
{
    private const string Index = "model.safetensors.index.json";

    public static TheoryData<string, string> Indexes => new()
    {
        { "x", "not valid JSON" },
        { "[]", "not a JSON object" },
        { "{}", "'weight_map' is missing" },
        { """{"weight_map":[]}""", "'weight_map' is a JSON StartArray" },
        { """{"weight_map":{"a":1}}""", "tensor 'a': its shard is a JSON Number" },
        { """{"weight_map":{"a":"one.safetensors"},"weight_map":{}}""", "'weight_map' is given twice" },
        { """{"weight_map":{"a":"one.safetensors","a":"one.safetensors"}}""", "tensor 'a': the index lists it twice" },
        { """{"weight_map":{"a":"two.safetensors"}}""", "the shard two.safetensors, which is missing" },
        { """{"weight_map":{"missing":"one.safetensors"}}""", "tensor 'missing': the index says that it is in one.safetensors" },
        { """{"weight_map":{"a":""}}""", "which is not the name of a file in this folder" },
        { """{"weight_map":{"a":".."}}""", "'..'" },
        { """{"weight_map":{"a":"../outside.safetensors"}}""", "'../outside.safetensors'" },
        { """{"weight_map":{"a":"./one.safetensors"}}""", "'./one.safetensors'" },
        { """{"weight_map":{"a":"..\\outside.safetensors"}}""", "'..\\outside.safetensors'" },
        { """{"weight_map":{"a":"/tmp/outside.safetensors"}}""", "'/tmp/outside.safetensors'" },
        { """{"weight_map":{"a":"C:outside.safetensors"}}""", "'C:outside.safetensors'" },
        { """{"weight_map":{"a":"one.safetensors\u0000"}}""", "which is not the name of a file in this folder" },
        { """{"weight_map":{"a":"pytorch_model.bin"}}""", "pickle" },
        { """{"weight_map":{"a":"\udc00"}}""", "not valid JSON" },
        { """{"x":""" + new string('[', 100_000), "not valid JSON" },
    };

    [Theory]
    [MemberData(nameof(Indexes))]
    public void An_index_that_is_not_valid_is_refused(string index, string expected)
    {
        using TemporaryFolder outer = new();
        Directory.CreateDirectory(outer.At("model"));
        outer.Write("outside.safetensors", SafetensorsBytes.Ones("a"));
        outer.Write("model/one.safetensors", SafetensorsBytes.Ones("a"));
        outer.Write("model/" + Index, index);

        string message = Assert.Throws<CheckpointException>(() => Checkpoint.Open(outer.At("model"))).Message;

        Assert.Contains(expected, message);
        Assert.Contains(outer.At("model"), message);
    }

    [Fact]
    public void A_damaged_shard_is_named()
    {
        using TemporaryFolder folder = new();
        folder.Write("one.safetensors", SafetensorsBytes.Ones("a"));
        folder.Write("two.safetensors", SafetensorsBytes.Ones("b")[..^1]);
        folder.Write(Index, """{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}""");

        Assert.Contains(folder.At("two.safetensors"), Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Root)).Message);
    }

    [Fact]
    public void Shards_open_by_folder_and_by_index()
    {
        using TemporaryFolder folder = new();
        folder.Write("one.safetensors", SafetensorsBytes.Ones("a", "unlisted"));
        folder.Write("two.safetensors", SafetensorsBytes.Ones("b"));
        folder.Write(Index, """{"metadata":{"total_size":16},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}""");

        foreach (string path in (string[])[folder.Root, folder.At(Index)])
        {
            using Checkpoint checkpoint = Checkpoint.Open(path);
            Assert.Equal(["a", "b"], checkpoint.Tensors.Keys.Order());
            Assert.Equal([1f, 1f], checkpoint.ReadSingles("b", 2));
        }
    }

    [Theory]
    [InlineData("pytorch_model.bin")]
    [InlineData("model.pt")]
    [InlineData("consolidated.00.pth")]
    public void Pickle_files_are_refused_with_the_reason(string name)
    {
        using TemporaryFolder folder = new();
        string file = folder.Write(name, "PK");

        foreach (string path in (string[])[folder.Root, file])
        {
            string message = Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message;
            Assert.Contains(name, message);
            Assert.Contains("can run any program", message);
            Assert.Contains("safe_serialization", message);
        }
    }

    [Fact]
    public void A_folder_without_a_checkpoint_is_refused_and_another_file_in_it_is_pointed_out()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("no model.safetensors", Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Root)).Message);

        string other = folder.Write("golden.safetensors", SafetensorsBytes.Ones("a"));
        Assert.Contains(other, Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Root)).Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("no/such/folder")]
    [InlineData("nul\0byte")]
    public void A_path_that_leads_nowhere_is_refused(string path) =>
        Assert.Contains("no such file or folder", Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message);

    [SkippableFact]
    public void Links_out_of_the_folder_are_refused_and_links_within_are_followed()
    {
        Skip.If(OperatingSystem.IsWindows(), "links need a privilege there");
        using TemporaryFolder outer = new();
        string outside = outer.Write("outside.safetensors", SafetensorsBytes.Ones("a"));
        string folder = Directory.CreateDirectory(outer.At("model")).FullName;
        string link = Path.Combine(folder, "model.safetensors");

        File.CreateSymbolicLink(link, outside);
        Assert.Contains("leads out of the folder", Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder)).Message);

        // A folder within that is itself a link out.
        File.Delete(link);
        Directory.CreateSymbolicLink(Path.Combine(folder, "inner"), outer.Root);
        File.CreateSymbolicLink(link, "inner/outside.safetensors");
        Assert.Contains("leads out of the folder", Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder)).Message);

        // A neighbour whose name begins with the folder's.
        File.Delete(link);
        Directory.CreateDirectory(outer.At("model-2"));
        outer.Write("model-2/weights", SafetensorsBytes.Ones("a"));
        File.CreateSymbolicLink(link, "../model-2/weights");
        Assert.Contains("leads out of the folder", Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder)).Message);

        File.Delete(link);
        outer.Write("model/weights", SafetensorsBytes.Ones("a"));
        // Shorter than any checkpoint, for the link's own length must not count.
        File.CreateSymbolicLink(link, "weights");
        Directory.CreateSymbolicLink(outer.At("alias"), folder);
        using Checkpoint checkpoint = Checkpoint.Open(outer.At("alias"));
        Assert.Equal([1f, 1f], checkpoint.ReadSingles("a"));
    }

    [SkippableFact]
    public void Links_in_a_circle_end()
    {
        Skip.If(OperatingSystem.IsWindows(), "links need a privilege there");
        using TemporaryFolder folder = new();
        File.CreateSymbolicLink(folder.At("model.safetensors"), "other");
        File.CreateSymbolicLink(folder.At("other"), "model.safetensors");

        Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Root));
    }

    [SkippableFact]
    public void The_hub_cache_with_its_links_to_blobs_opens()
    {
        Skip.If(OperatingSystem.IsWindows(), "links need a privilege there");
        using TemporaryFolder cache = new();
        string snapshot = Directory.CreateDirectory(cache.At("snapshots/0123")).FullName;
        Directory.CreateDirectory(cache.At("blobs"));
        cache.Write("blobs/abcd", SafetensorsBytes.Ones("a"));
        File.CreateSymbolicLink(Path.Combine(snapshot, "model.safetensors"), "../../blobs/abcd");

        using Checkpoint checkpoint = Checkpoint.Open(snapshot);
        Assert.Equal([1f, 1f], checkpoint.ReadSingles("a"));
    }

    [SkippableFact]
    public void A_pipe_is_refused_and_not_waited_for()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "needs mkfifo");
        using TemporaryFolder folder = new();
        using (System.Diagnostics.Process process = System.Diagnostics.Process.Start("mkfifo", folder.At("model.safetensors")))
        {
            process.WaitForExit();
            Skip.If(process.ExitCode != 0, "mkfifo failed");
        }

        Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Root));
    }
}
