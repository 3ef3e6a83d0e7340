using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Tests;

/// <summary>The race on variants whose speeds are known.</summary>
public sealed class TuningRaceTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void The_fastest_variant_wins_with_a_fraction_of_all_samples(int seed)
    {
        Random random = new(seed);
        Dictionary<string, double> speeds = [];
        for (int group = 0; group < 4; group++)
        {
            double speed = 100 * (1 + (group * 0.6));
            for (int i = 0; i < 30; i++)
            {
                speeds.Add($"{group}/{i}", speed * (1 + (0.3 * random.NextDouble())));
            }
        }

        FakeWorkload workload = new(speeds, untuned: "0/0", noise: 0.01, seed);
        IReadOnlyList<VariantResult> results = TuningRace.Run(workload);
        Assert.InRange(speeds[results[0].Name] / speeds.Values.Min(), 1, 1.03);
        Assert.InRange(workload.Samples, 1, speeds.Count * 3);
        Assert.Equal(speeds.Count, results.Count);
        Assert.Contains(results, result => result.Name == "0/0" && result.Outcome == VariantOutcome.Finalist);
        Assert.All(results, result => Assert.Equal(result.Outcome == VariantOutcome.Finalist, result.Reason is null));
        Assert.Equal(results.TakeWhile(static result => result.Timing is not null).Count(), results.Count(static result => result.Timing is not null));
    }

    [Fact]
    public void Rough_samples_of_a_group_that_is_left_are_no_timing()
    {
        FakeWorkload workload = new(new() { ["a/0"] = 100, ["a/1"] = 90, ["b/0"] = 300, ["b/1"] = 50 }, untuned: "a/0", noise: 0, seed: 1) { IsRough = true };
        IReadOnlyList<VariantResult> results = TuningRace.Run(workload);
        Assert.Equal("a/1", results[0].Name);
        Assert.All(results.Where(static result => result.Group == "b"), static result => Assert.Equal((VariantOutcome.Eliminated, true), (result.Outcome, result.Timing is null)));
        Assert.Contains("3.00 times", results.Single(static result => result.Name == "b/1").Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Cuts_of_a_kernel_that_is_far_behind_are_left()
    {
        FakeWorkload workload = new(
            new() { ["a/1/0"] = 100, ["a/1/1"] = 98, ["a/2/0"] = 130, ["a/2/1"] = 50, ["b/1/0"] = 160, ["b/1/1"] = 90 }, untuned: "a/1/0", noise: 0, seed: 1);
        IReadOnlyList<VariantResult> results = TuningRace.Run(workload);
        Assert.Equal("b/1/1", results[0].Name);
        Assert.Contains("its kernel took 1.30 times", results.Single(static result => result.Name == "a/2/1").Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void The_untuned_kernel_races_to_the_end_and_its_slow_cuts_do_not()
    {
        FakeWorkload workload = new(new() { ["a/0"] = 300, ["a/1"] = 290, ["b/0"] = 100 }, untuned: "a/0", noise: 0, seed: 1);
        IReadOnlyList<VariantResult> results = TuningRace.Run(workload);
        Assert.Equal("b/0", results[0].Name);
        Assert.Equal(VariantOutcome.Finalist, results.Single(static result => result.Name == "a/0").Outcome);
        Assert.Contains("its group took 3.00 times", results.Single(static result => result.Name == "a/1").Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Long_multiplications_are_run_a_few_times_only()
    {
        Dictionary<string, double> speeds = [];
        for (int kernel = 0; kernel < 6; kernel++)
        {
            for (int cut = 0; cut < 8; cut++)
            {
                speeds.Add($"a/{kernel}/{cut}", 20_000 * (1 + (0.15 * kernel) + (0.01 * cut)));
            }
        }

        FakeWorkload workload = new(speeds, untuned: "a/0/3", noise: 0.005, seed: 1) { TimedRuns = true };
        Assert.Equal("a/0/0", TuningRace.Run(workload)[0].Name);
        Assert.InRange(workload.Samples, 15, speeds.Count);
    }

    [Fact]
    public void The_untuned_variant_stays_where_nothing_is_faster_than_the_noise()
    {
        FakeWorkload workload = new(new() { ["a"] = 100, ["b"] = 99.5, ["c"] = 100.2 }, untuned: "c", noise: 0, seed: 1);
        Assert.Equal("c", TuningRace.Run(workload)[0].Name);
    }

    [Fact]
    public void A_wrong_or_broken_variant_never_wins_and_says_why()
    {
        FakeWorkload workload = new(new() { ["right"] = 100, ["wrong"] = 10, ["broken"] = 5, ["late"] = 1 }, untuned: "right", noise: 0, seed: 1)
        {
            Wrong = { ["wrong"] = "off by one" }, Broken = { "broken" }, RevokedBy = ("right", "late", "was never right"),
        };
        IReadOnlyList<VariantResult> results = TuningRace.Run(workload);
        Assert.Equal("right", results[0].Name);
        Assert.Equal((VariantOutcome.Wrong, "off by one"), Of("wrong"));
        Assert.Equal((VariantOutcome.Wrong, "was never right"), Of("late"));
        Assert.Equal(VariantOutcome.Failed, Of("broken").Outcome);

        (VariantOutcome Outcome, string? Reason) Of(string name) => results.Where(result => result.Name == name).Select(static result => (result.Outcome, result.Reason)).Single();
    }

    [Fact]
    public void The_time_of_a_variant_that_turns_out_to_be_wrong_sends_nobody_home()
    {
        FakeWorkload workload = new(
            new() { ["wrong/0"] = 5_000, ["a/0"] = 20_000, ["a/1"] = 18_000 }, untuned: "wrong/0", noise: 0, seed: 1)
        {
            TimedRuns = true, RevokedBy = ("a/0", "wrong/0", "was never right"),
        };
        IReadOnlyList<VariantResult> results = TuningRace.Run(workload);
        Assert.Equal("a/1", results[0].Name);
        Assert.Equal(VariantOutcome.Wrong, results.Single(static result => result.Name == "wrong/0").Outcome);
    }

    [Fact]
    public void A_far_group_leaves_with_the_cuts_of_a_kernel_whose_own_leader_failed()
    {
        FakeWorkload workload = new(
            new() { ["near/0/0"] = 100, ["far/0/0"] = 300, ["far/1/0"] = 300, ["far/1/1"] = 50 }, untuned: "near/0/0", noise: 0, seed: 1) { Broken = { "far/1/0" } };
        IReadOnlyList<VariantResult> results = TuningRace.Run(workload);
        Assert.Equal("near/0/0", results[0].Name);
        Assert.Contains("its group took 3.00 times", results.Single(static result => result.Name == "far/1/1").Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_workload_without_a_right_variant_is_an_error_that_says_why()
    {
        FakeWorkload workload = new(new() { ["a"] = 1 }, untuned: "a", noise: 0, seed: 1) { Wrong = { ["a"] = "off by one" } };
        Assert.Contains("off by one", Assert.Throws<InvalidOperationException>(() => TuningRace.Run(workload)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_race_can_be_stopped()
    {
        using CancellationTokenSource stop = new();
        FakeWorkload workload = new(new() { ["a"] = 1, ["b"] = 2 }, untuned: "a", noise: 0, seed: 1) { Sampled = stop.Cancel };
        Assert.Throws<OperationCanceledException>(() => TuningRace.Run(workload, cancellation: stop.Token));
        Assert.Equal(1, workload.Samples);
    }

    [Fact]
    public void Progress_goes_from_nothing_to_all()
    {
        List<TuningProgress> reports = [];
        TuningRace.Run(new FakeWorkload(new() { ["a"] = 3, ["b"] = 2 }, untuned: "a", noise: 0, seed: 1), new Recorder(reports));
        Assert.Equal(1, reports[^1].Share);
        Assert.Equal(("b", 2.0, 2), (reports[^1].Best, reports[^1].BestMicroseconds, reports[^1].Candidates));
        Assert.Equal(reports.Select(static report => report.Share).Order(), reports.Select(static report => report.Share));
    }

    private sealed class Recorder(List<TuningProgress> reports) : IProgress<TuningProgress>
    {
        public void Report(TuningProgress value) => reports.Add(value);
    }

    private sealed class FakeWorkload(Dictionary<string, double> speeds, string untuned, double noise, int seed) : TuningWorkload
    {
        private readonly Random _random = new(seed);
        private readonly Dictionary<string, string> _revoked = [];

        public Dictionary<string, string> Wrong { get; } = [];

        public HashSet<string> Broken { get; } = [];

        public (string By, string Name, string Reason)? RevokedBy { get; init; }

        public Action? Sampled { get; init; }

        public bool IsRough { get; init; }

        public bool TimedRuns { get; init; }

        public override bool RoughDiffers => IsRough;

        public int Samples { get; private set; }

        public override TuningKey Key => TuningSamples.Record().Key;

        public override int Rows => 128;

        public override int OutlierColumns => 0;

        public override string Untuned => untuned;

        public override IReadOnlyDictionary<string, string> Revoked => _revoked;

        public override IReadOnlyList<TuningCandidate> Candidates { get; } =
            [.. speeds.Keys.Select(name => new TuningCandidate(name, name.Split('/')[0], Kernel(name), name == speeds.Keys.First(other => Kernel(other) == Kernel(name)), null))];

        /// <summary>What comes before the last stroke: <c>group/cut</c> or <c>group/kernel/cut</c>.</summary>
        private static string Kernel(string name) => name.LastIndexOf('/') is int last and > 0 ? name[..last] : name;

        public override string? Verify(TuningCandidate candidate, out double microseconds)
        {
            microseconds = TimedRuns && speeds[candidate.Name] >= 2000 ? speeds[candidate.Name] : 0;
            if (Broken.Contains(candidate.Name))
            {
                throw new CudaException("call", 1, "broken", "");
            }

            if (RevokedBy is { } revoked && revoked.By == candidate.Name)
            {
                _revoked[revoked.Name] = revoked.Reason;
            }

            return Wrong.GetValueOrDefault(candidate.Name);
        }

        public override double Sample(TuningCandidate candidate, double microseconds, bool rough = false)
        {
            Samples++;
            Sampled?.Invoke();
            return speeds[candidate.Name] * (1 + (noise * _random.NextDouble()));
        }

        public override void Dispose()
        {
            // It holds nothing.
        }
    }
}
