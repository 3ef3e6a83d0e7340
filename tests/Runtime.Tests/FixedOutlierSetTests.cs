using Xunit;

namespace KernelGen.Runtime.Tests;

/// <summary>Calibrated outlier columns in a file, as a user of <see cref="Int8KernelAttribute"/> loads them.</summary>
public sealed class FixedOutlierSetTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kernelgen-set-").FullName;

    private string File => Path.Combine(_folder, "set.json");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void What_is_saved_is_loaded()
    {
        FixedOutlierSet set = new([Layer("b\"<\u00e9", 7, 0, 3), Layer("a")]);
        System.IO.File.WriteAllText(File, "an older set");
        set.Save(File);
        FixedOutlierSet loaded = FixedOutlierSet.Load(File);

        Assert.Equal(["a", "b\"<\u00e9"], loaded.Layers);
        Assert.Equal([0, 3, 7], loaded.ColumnsOf("b\"<\u00e9", 8));
        Assert.Empty(loaded.ColumnsOf("a", 8));
        Assert.Empty(loaded.ColumnsOf("another", 8));
        Assert.Equal(File, loaded.Name);
        Assert.Equal([File], Directory.GetFiles(_folder));
    }

    [Fact]
    public void Saving_leaves_other_files_alone_whatever_their_names()
    {
        System.IO.File.WriteAllText(File + ".tmp", "mine");
        new FixedOutlierSet([Layer("layer", 8)]).Save(File);
        Assert.Equal("mine", System.IO.File.ReadAllText(File + ".tmp"));
        Assert.Equal([File, File + ".tmp"], Directory.GetFiles(_folder).Order());
    }

    [Fact]
    public void A_set_that_cannot_take_its_name_leaves_nothing_behind()
    {
        Directory.CreateDirectory(File);
        Assert.ThrowsAny<Exception>(() => new FixedOutlierSet([Layer("layer", 8)]).Save(File));
        Assert.Equal([File], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void A_column_that_a_layer_does_not_have_is_refused_with_the_file()
    {
        new FixedOutlierSet([Layer("layer", 8)]).Save(File);
        string message = Assert.Throws<FixedOutlierSetException>(() => FixedOutlierSet.Load(File).ColumnsOf("layer", 8)).Message;
        Assert.Contains(File, message);
        Assert.Contains("'layer' lists column 8, but the layer has 8 input features", message);
    }

    [Fact]
    public void Columns_that_cannot_be_are_refused()
    {
        Assert.Contains("lists -1", Assert.Throws<FixedOutlierSetException>(() => new FixedOutlierSet([Layer("x", -1)])).Message);
        Assert.Contains("column 4 twice", Assert.Throws<FixedOutlierSetException>(() => new FixedOutlierSet([Layer("x", 4, 4)])).Message);
    }

    [Theory]
    [InlineData("", "0 bytes")]
    [InlineData("{", "not valid JSON")]
    [InlineData("[]", "Array")]
    [InlineData("{\"a\":1}", "'a' is 1")]
    [InlineData("{\"a\":[1.5]}", "lists 1.5")]
    [InlineData("{\"a\":[4294967296]}", "lists 4294967296")]
    [InlineData("{\"a\":[],\"a\":[]}", "not valid JSON")]
    public void A_file_that_is_no_set_is_refused_by_name(string json, string expected)
    {
        System.IO.File.WriteAllText(File, json);
        string message = Assert.Throws<FixedOutlierSetException>(() => FixedOutlierSet.Load(File)).Message;
        Assert.Contains(File, message);
        Assert.Contains(expected, message);
    }

    [Theory]
    [InlineData("no-such-file")]
    [InlineData("no-such-folder/file")]
    [InlineData("")]
    [InlineData(".")]
    public void A_file_that_cannot_be_read_is_refused_by_name(string path) =>
        Assert.Contains(path, Assert.Throws<FixedOutlierSetException>(() => FixedOutlierSet.Load(path)).Message);

    private static KeyValuePair<string, IReadOnlyList<int>> Layer(string name, params int[] columns) => KeyValuePair.Create(name, (IReadOnlyList<int>)columns);
}
