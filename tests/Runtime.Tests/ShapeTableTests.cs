using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Tests;

/// <summary>Looking choices up: a shape's own first, else the nearest by the stated rule.</summary>
public sealed class ShapeTableTests
{
    [Fact]
    public void A_tuned_shape_gets_its_own_choice_for_every_row_count_of_its_bucket()
    {
        ShapeTable<string> table = new([Entry(4, 768, 768, "a"), Entry(5, 768, 768, "b"), Entry(4, 768, 3072, "c")]);
        Assert.Equal("a", table.Find(65, 768, 768));
        Assert.Equal("a", table.Find(256, 768, 768));
        Assert.Equal("b", table.Find(257, 768, 768));
        Assert.Equal("c", table.Find(128, 768, 3072));
        Assert.True(table.IsTuned(new ShapeKey(4, 768, 768)));
        Assert.False(table.IsTuned(new ShapeKey(4, 769, 768)));
    }

    [Fact]
    public void An_untuned_shape_gets_the_nearest_choice_within_three_doublings()
    {
        ShapeTable<string> table = new([Entry(4, 1024, 1024, "a"), Entry(4, 4096, 1024, "b"), Entry(0, 1024, 1024, "c")]);
        Assert.Equal("a", table.Find(100, 1100, 1024));
        Assert.Equal("b", table.Find(100, 3000, 1024));
        Assert.Equal("c", table.Find(3, 1024, 1024));
        Assert.Equal("a", table.Find(20, 1024, 1024));
        Assert.Equal("b", table.Find(100, 8192, 4096));
        Assert.Null(table.Find(100, 8192 + 1, 4096));
        Assert.Null(table.Find(100, 1, 1024));
    }

    [Fact]
    public void Of_equally_near_choices_that_of_fewer_rows_counts_then_of_smaller_sizes()
    {
        ShapeTable<string> table = new([Entry(4, 1024, 1024, "many"), Entry(2, 1024, 1024, "few"), Entry(3, 4096, 1024, "wide"), Entry(3, 1024, 4096, "deep")]);
        Assert.Equal("few", table.Find(64, 1024, 1024));
        Assert.Equal("deep", table.Find(64, 4096, 4096));
    }

    [Fact]
    public void A_stale_choice_is_a_hint_that_a_fresh_one_at_hand_overrules()
    {
        ShapeTable<string> table = new([Entry(4, 1024, 1024, "old", stale: true), Entry(4, 1500, 1024, "near")]);
        Assert.Equal("near", table.Find(100, 1024, 1024));
        Assert.False(table.IsTuned(new ShapeKey(4, 1024, 1024)));
        Assert.Equal("old", new ShapeTable<string>([Entry(4, 1024, 1024, "old", stale: true)]).Find(100, 1024, 1024));
    }

    [Fact]
    public void Without_reach_a_shape_takes_its_own_fresh_choice_or_none()
    {
        ShapeTable<string> table = new([Entry(4, 1024, 1024, "own"), Entry(4, 2048, 1024, "old", stale: true)], reach: 0);
        Assert.Equal("own", table.Find(100, 1024, 1024));
        Assert.Null(table.Find(100, 1025, 1024));
        Assert.Null(table.Find(300, 1024, 1024));
        Assert.Null(table.Find(100, 2048, 1024));
    }

    [Fact]
    public void Untuned_shapes_are_told_of_once()
    {
        List<ShapeKey> told = [];
        ShapeTable<string> table = new([Entry(4, 1024, 1024, "a")], told.Add);
        for (int i = 0; i < 3; i++)
        {
            table.Find(100, 1024, 1024);
            table.Find(100, 2048, 1024);
            table.Find(100, 99_999, 1024);
        }

        Assert.Equal([new ShapeKey(4, 2048, 1024), new ShapeKey(4, 99_999, 1024)], told);
    }

    [Fact]
    public void Finding_allocates_nothing_once_a_shape_is_known()
    {
        ShapeTable<string> table = new([Entry(4, 1024, 1024, "a")]);
        table.Find(100, 2048, 1024);
        table.Find(100, 99_999, 1024);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            table.Find(100, 1024, 1024);
            table.Find(100, 2048, 1024);
            table.Find(100, 99_999, 1024);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Many_threads_that_meet_new_shapes_get_right_answers()
    {
        ShapeTable<string> table = new([Entry(4, 1024, 1024, "a"), Entry(4, 4096, 1024, "b")]);
        Parallel.For(0, 2000, i => Assert.Equal(1000 + (i % 300) < 2048 ? "a" : "b", table.Find(100, 1000 + (i % 300), 1024)));
    }

    private static ShapeEntry<string> Entry(int bucket, int n, int k, string choice, bool stale = false) => new(new ShapeKey(bucket, n, k), stale, choice);
}
