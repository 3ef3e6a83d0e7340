using KernelGen.Inference.Generation;
using KernelGen.Inference.Serving;
using Xunit;

namespace KernelGen.Inference.Tests.Serving;

public class SchedulerTests
{
    [Fact]
    public void A_prompt_is_run_in_chunks_that_depend_on_it_alone()
    {
        FakeExecutor executor = new(prefillChunk: 8);
        Scheduler scheduler = new(executor);
        Sequence sequence = Submit(scheduler, Prompt(21, 1), 5);
        RunAll(scheduler);
        Assert.Equal([(0, 8, 0), (0, 8, 8), (0, 5, 16)], executor.Chunks);
        Assert.Equal(FakeExecutor.Text(sequence.Prompt, 5), Tokens(sequence));
    }

    [Fact]
    public void Sequences_advance_between_the_chunks_of_a_long_prompt()
    {
        FakeExecutor executor = new(prefillChunk: 4);
        Scheduler scheduler = new(executor);
        Sequence first = Submit(scheduler, Prompt(3, 1), 20);
        Assert.True(scheduler.Step());
        Sequence second = Submit(scheduler, Prompt(16, 2), 3);
        for (int i = 0; i < 4; i++)
        {
            Assert.Equal(1 + i, first.Generated);
            Assert.True(scheduler.Step());
        }

        Assert.Equal(1, second.Generated);
        RunAll(scheduler);
        Assert.Equal(FakeExecutor.Text(first.Prompt, 20), Tokens(first));
        Assert.Equal(FakeExecutor.Text(second.Prompt, 3), Tokens(second));
    }

    [Fact]
    public void Sequences_are_decoded_together_and_leave_when_they_are_done()
    {
        FakeExecutor executor = new();
        Scheduler scheduler = new(executor);
        Sequence[] sequences = [.. Enumerable.Range(1, 3).Select(i => Submit(scheduler, Prompt(2, i), 4 * i))];
        RunAll(scheduler);
        Assert.All(sequences, sequence => Assert.Equal(FakeExecutor.Text(sequence.Prompt, sequence.NewTokens), Tokens(sequence)));
        Assert.Contains(3, executor.Batches);
        Assert.Equal(1, executor.Batches[^1]);
    }

    [Fact]
    public void A_sequence_waits_until_its_pages_are_free_and_none_overtakes_it()
    {
        FakeExecutor executor = new(slots: 4, pages: 10, pageSize: 4, contextLength: 40);
        Scheduler scheduler = new(executor);
        Sequence large = Submit(scheduler, Prompt(10, 1), 20);
        Sequence second = Submit(scheduler, Prompt(10, 2), 20);
        Sequence small = Submit(scheduler, Prompt(2, 3), 2);
        Assert.True(scheduler.Step());
        Assert.Equal((-1, -1), (second.Slot, small.Slot));
        Assert.Equal(10 - 8, scheduler.FreePages);
        RunAll(scheduler);
        Assert.All([large, second, small], sequence => Assert.Equal(FakeExecutor.Text(sequence.Prompt, sequence.NewTokens), Tokens(sequence)));
        Assert.Equal((10, 4), (scheduler.FreePages, scheduler.FreeSlots));
    }

    [Fact]
    public void The_end_token_ends_a_text_and_is_its_last()
    {
        FakeExecutor executor = new();
        Scheduler scheduler = new(executor);
        int[] prompt = Prompt(5, 9);
        int[] text = FakeExecutor.Text(prompt, 12);
        Sequence sequence = new(prompt, 12, new GenerationOptions(), [text[4]], CancellationToken.None);
        scheduler.Submit(sequence);
        RunAll(scheduler);
        Assert.Equal(text[..5], Tokens(sequence));
        Assert.Equal(executor.Pages, scheduler.FreePages);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5)]
    public void A_cancelled_sequence_gives_back_what_it_held(int steps)
    {
        FakeExecutor executor = new(prefillChunk: 4);
        Scheduler scheduler = new(executor);
        using CancellationTokenSource cancellation = new();
        Sequence cancelled = new(Prompt(10, 1), 30, new GenerationOptions(), [], cancellation.Token);
        scheduler.Submit(cancelled);
        Sequence other = Submit(scheduler, Prompt(4, 2), 10);
        for (int i = 0; i < steps; i++)
        {
            Assert.True(scheduler.Step());
        }

        cancellation.Cancel();
        RunAll(scheduler);
        while (cancelled.Output.TryRead(out _))
        {
        }

        Assert.True(cancelled.Output.Completion.IsCanceled);
        Assert.Equal(FakeExecutor.Text(other.Prompt, 10), Tokens(other));
        Assert.Equal((executor.Pages, executor.Slots), (scheduler.FreePages, scheduler.FreeSlots));
    }

    [Fact]
    public void Logits_that_are_not_finite_end_one_sequence_with_an_error_and_no_other()
    {
        int[] prompt = Prompt(5, 9);
        int[] text = FakeExecutor.Text(prompt, 6);
        FakeExecutor executor = new() { Broken = text[3] };
        Scheduler scheduler = new(executor);
        Sequence broken = Submit(scheduler, prompt, 6);
        Sequence other = Submit(scheduler, Prompt(5, 10), 6);
        RunAll(scheduler);
        Assert.Equal(FakeExecutor.Text(other.Prompt, 6), Tokens(other));
        List<int> got = [];
        while (broken.Output.TryRead(out int token))
        {
            got.Add(token);
        }

        Assert.Equal(text[..3], got);
        Assert.IsType<InvalidOperationException>(broken.Output.Completion.Exception?.InnerException);
        Assert.Equal(executor.Pages, scheduler.FreePages);
    }

    private static int[] Prompt(int length, int seed) => [.. Enumerable.Range(0, length).Select(i => ((i * 37) + (seed * 101)) % FakeExecutor.Vocabulary)];

    private static Sequence Submit(Scheduler scheduler, int[] prompt, int newTokens)
    {
        Sequence sequence = new(prompt, newTokens, new GenerationOptions(), [], CancellationToken.None);
        scheduler.Submit(sequence);
        return sequence;
    }

    private static void RunAll(Scheduler scheduler)
    {
        int steps = 0;
        while (scheduler.Step())
        {
            Assert.True(++steps < 1000, "The scheduler does not come to an end.");
        }
    }

    private static int[] Tokens(Sequence sequence)
    {
        List<int> tokens = [];
        while (sequence.Output.TryRead(out int token))
        {
            tokens.Add(token);
        }

        Assert.True(sequence.Output.Completion.IsCompletedSuccessfully);
        return [.. tokens];
    }
}
