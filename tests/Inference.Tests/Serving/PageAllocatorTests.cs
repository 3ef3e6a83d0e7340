using FsCheck.Xunit;
using KernelGen.Inference.Serving;
using Xunit;

namespace KernelGen.Inference.Tests.Serving;

public class PageAllocatorTests
{
    [Property(MaxTest = 200)]
    public void Pages_are_never_shared_and_all_come_back(int seed)
    {
        Random random = new(seed);
        PageAllocator allocator = new(random.Next(1, 60));
        List<int[]> taken = [];
        for (int i = 0; i < 300; i++)
        {
            if (taken.Count > 0 && random.Next(2) == 0)
            {
                int which = random.Next(taken.Count);
                allocator.Return(taken[which]);
                taken.RemoveAt(which);
            }
            else
            {
                int free = allocator.Free;
                int[] pages = new int[random.Next(0, 12)];
                bool got = allocator.TryTake(pages);
                Assert.Equal(pages.Length <= free, got);
                if (got)
                {
                    taken.Add(pages);
                }
            }

            int[] all = [.. taken.SelectMany(static pages => pages)];
            Assert.Equal(all.Length, all.Distinct().Count());
            Assert.All(all, page => Assert.InRange(page, 0, allocator.Total - 1));
            Assert.Equal(allocator.Total - all.Length, allocator.Free);
        }
    }

    [Fact]
    public void A_page_that_is_given_back_twice_is_an_error()
    {
        PageAllocator allocator = new(4);
        int[] pages = new int[2];
        Assert.True(allocator.TryTake(pages));
        allocator.Return(pages);
        Assert.Throws<InvalidOperationException>(() => allocator.Return(pages));
    }

    [Fact]
    public void Too_many_pages_take_none()
    {
        PageAllocator allocator = new(4);
        Assert.False(allocator.TryTake(new int[5]));
        Assert.Equal(4, allocator.Free);
    }
}
