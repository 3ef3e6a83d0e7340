using FsCheck.Xunit;
using KernelGen.Generator.Models;

namespace KernelGen.Generator.Tests;

public sealed class EquatableArrayTests
{
    [Property]
    public bool Equal_elements_make_equal_arrays(int[] items) =>
        new EquatableArray<int>(items).Equals(new EquatableArray<int>([.. items]))
        && new EquatableArray<int>(items).GetHashCode() == new EquatableArray<int>([.. items]).GetHashCode();

    [Property]
    public bool Other_elements_make_another_array(int[] items, int other) =>
        !new EquatableArray<int>(items).Equals(new EquatableArray<int>([.. items, other]));

    [Fact]
    public void Order_counts() => Assert.NotEqual(new EquatableArray<int>([1, 2]), new EquatableArray<int>([2, 1]));

    [Fact]
    public void Nothing_equals_an_empty_list()
    {
        EquatableArray<int> none = default;
        Assert.Equal(new EquatableArray<int>([]), none);
        Assert.Equal(new EquatableArray<int>([]).GetHashCode(), none.GetHashCode());
        Assert.Empty(none);
    }

    [Fact]
    public void A_copy_does_not_change_with_its_source()
    {
        int[] source = [1, 2];
        EquatableArray<int> copy = new(source);
        source[0] = 9;
        Assert.Equal(1, copy[0]);
    }
}
