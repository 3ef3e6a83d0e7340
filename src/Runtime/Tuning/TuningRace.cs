namespace KernelGen.Tuning;

/// <summary>
/// Finds the fastest variant of a workload: rounds of more samples for fewer variants, as in successive halving (Jamieson and Talwalkar,
/// arXiv 1502.07943), with three changes. Who leaves is decided by distance from the best and not by rank, since variants often come in crowds that are
/// equally fast or far behind; one variant speaks for its kernel first, since most of the difference lies between groups, then between kernels; and every
/// round goes through all its variants in turn, so that a machine that slows down for a while slows all of them.
/// </summary>
internal sealed class TuningRace
{
    /// <summary>Microseconds. A multiplication that takes longer than a sample is one, and tells more than several short ones.</summary>
    private const double ShortSample = 250, LongSample = 800;

    /// <summary>A multiplication of this many microseconds is a sample of its own: what waking threads and fetching code take is nothing beside it.</summary>
    public const double LongRun = 2 * LongSample;

    /// <summary>The least microseconds that a final may take; else it may take half as long as all before.</summary>
    private const double FinalBudget = 60_000;

    /// <summary>A group this many times slower than the best one is left: no cut of the work makes that good.</summary>
    public const double GroupMargin = 1.7;

    /// <summary>
    /// The same within a group: on a processor the cut of the work makes its kernels faster or slower alike, and on a GPU there is nothing else to try with one.
    /// </summary>
    private const double KernelMargin = 1.15;

    /// <summary>How much slower than the best a variant's fastest sample may be after the first and after the second round.</summary>
    private const double FirstMargin = 1.25, SecondMargin = 1.1;

    private const int LeaderSamples = 2, SecondSamples = 2;

    private const int LeastFinalSamples = 3, MostFinalSamples = 25;

    /// <summary>How close the two fastest samples of a variant are, relatively, when its time is known.</summary>
    private const double Agreement = 0.01;

    /// <summary>The most variants that go on, beside the untuned one.</summary>
    private const int MostSecond = 10, MostFinal = 5;

    /// <summary>The untuned variant stays unless another one is faster by more than that: less is noise.</summary>
    private const double LeastGain = 0.01;

    private readonly TuningWorkload _workload;
    private readonly CancellationToken _cancellation;
    private readonly IProgress<TuningProgress>? _progress;
    private readonly List<Entry> _entries;

    /// <summary>Microseconds of samples so far.</summary>
    private double _spent;

    private TuningRace(TuningWorkload workload, IProgress<TuningProgress>? progress, CancellationToken cancellation)
    {
        _workload = workload;
        _progress = progress;
        _cancellation = cancellation;
        _entries = [.. workload.Candidates.Select(static candidate => new Entry(candidate))];
    }

    /// <summary>Runs the race.</summary>
    /// <returns>Every variant, the chosen one first, then by time, those without a time last.</returns>
    /// <exception cref="InvalidOperationException">No variant gives right results here.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public static IReadOnlyList<VariantResult> Run(
        TuningWorkload workload, IProgress<TuningProgress>? progress = null, CancellationToken cancellation = default) =>
        new TuningRace(workload, progress, cancellation).Run();

    private IReadOnlyList<VariantResult> Run()
    {
        Entry[] leaders = Enter(static entry => entry.Candidate.Leads, 0, 0.3);
        Sample(leaders, LeaderSamples, ShortSample, longSamples: LeaderSamples, rough: true);
        LeaveByLeaders(leaders);
        Entry[] others = Enter(static entry => true, 0.3, 0.6);
        foreach (Entry leader in leaders.Where(_ => _workload.RoughDiffers))
        {
            leader.Restart();
        }

        Sample(_workload.RoughDiffers ? Running() : others, 1, ShortSample);

        // A single sample, be it the run that was verified, sends nobody home.
        double near = FirstMargin * Best();
        foreach (Entry entry in Running().Where(entry => entry.Fresh == 1 && entry.Minimum > near))
        {
            SampleOnce(entry, ShortSample);
        }

        KeepNear(FirstMargin, MostSecond, static entry => entry.Minimum);
        Report(0.65);
        Sample(Running(), 1 + SecondSamples, ShortSample);
        KeepNear(SecondMargin, MostFinal, static entry => entry.Minimum);
        Report(0.8);
        Entry[] finalists = Running();
        if (finalists.Length == 0)
        {
            throw new InvalidOperationException(
                $"None of {_entries.Count} variants gives the right results: {string.Join("; ", _entries.Select(static entry => entry.Reason).Distinct().Take(3))}.");
        }

        Final();
        Report(1);
        Entry chosen = finalists.MinBy(static entry => entry.Minimum)!;
        if (finalists.FirstOrDefault(IsUntuned) is { } untuned && untuned.Minimum * (1 - LeastGain) <= chosen.Minimum)
        {
            chosen = untuned;
        }

        return [
            .. _entries
                .OrderBy(entry => entry == chosen ? 0 : entry.Runs ? 1 : entry.HasSamples ? 2 : 3)
                .ThenBy(static entry => entry.HasSamples ? entry.Minimum : 0)
                .Select(static entry => entry.Result()),
        ];
    }

    /// <summary>Groups and kernels whose leaders are far behind are left, the untuned variant excepted.</summary>
    private void LeaveByLeaders(Entry[] leaders)
    {
        double best = Best();
        foreach (IGrouping<string, Entry> group in leaders.Where(static leader => leader.Runs).GroupBy(static leader => leader.Candidate.Group).ToArray())
        {
            double groupBest = group.Min(static leader => leader.Minimum);
            bool isFar = groupBest > GroupMargin * best;
            if (isFar)
            {
                Leave(entry => entry.Candidate.Group == group.Key, $"its group took {groupBest / best:F2} times the best of the first round");
            }

            foreach (Entry leader in group.Where(leader => isFar || (!_workload.RoughDiffers && leader.Minimum > KernelMargin * groupBest)).ToArray())
            {
                double time = leader.Minimum;
                Leave(entry => entry.Candidate.Kernel == leader.Candidate.Kernel, $"its kernel took {time / best:F2} times the best of the first round");
                if (IsUntuned(leader))
                {
                    continue;
                }

                leader.Leave($"{time / best:F2} times the best of the first round, {time:F1} us");
                if (_workload.RoughDiffers)
                {
                    leader.Forget();
                }
            }
        }
    }

    /// <summary>The waiting variants that fit leave, the untuned one excepted.</summary>
    private void Leave(Func<Entry, bool> fits, FormattableString reason)
    {
        foreach (Entry entry in _entries.Where(entry => entry.IsWaiting && fits(entry) && !IsUntuned(entry)))
        {
            entry.Leave(reason);
        }
    }

    /// <summary>Verifies the waiting variants that fit.</summary>
    private Entry[] Enter(Func<Entry, bool> fits, double from, double to)
    {
        Entry[] entering = [.. _entries.Where(entry => entry.IsWaiting && fits(entry))];
        for (int i = 0; i < entering.Length; i++)
        {
            _cancellation.ThrowIfCancellationRequested();
            try
            {
                entering[i].Start(_workload.Verify(entering[i].Candidate, out double microseconds));
                if (entering[i].Runs && microseconds > 0)
                {
                    entering[i].Add(microseconds);
                    _spent += microseconds;
                }

                foreach (Entry revoked in _entries.Where(entry => entry.Runs && _workload.Revoked.ContainsKey(entry.Candidate.Name)))
                {
                    revoked.Start(_workload.Revoked[revoked.Candidate.Name]);
                }
            }
            catch (CudaException exception)
            {
                entering[i].Fail(exception.Message);
            }

            Report(from + ((to - from) * i / entering.Length));
        }

        return entering;
    }

    /// <summary>Brings entries to a number of samples, or those whose multiplication is long to another.</summary>
    private void Sample(Entry[] entries, int samples, double microseconds, int longSamples = 1, bool rough = false)
    {
        for (int i = 0; i < samples; i++)
        {
            foreach (Entry entry in entries.Where(entry => entry.Runs && entry.Fresh < (entry.IsLong ? longSamples : samples)))
            {
                SampleOnce(entry, microseconds, rough);
            }
        }
    }

    private void SampleOnce(Entry entry, double microseconds, bool rough = false)
    {
        _cancellation.ThrowIfCancellationRequested();
        double sample = _workload.Sample(entry.Candidate, microseconds, rough);
        entry.Add(sample);
        _spent += Math.Max(sample, microseconds);
    }

    /// <summary>
    /// Samples until every variant's time is known or known to be longer than the best one's, or the final has taken half as long as all rounds
    /// before. What disturbs a sample makes it longer, so the fastest one counts; two that agree are no accident.
    /// </summary>
    private void Final()
    {
        Entry[] open = Running();
        foreach (Entry entry in open)
        {
            entry.Restart();
        }

        double end = _spent + Math.Max(_spent / 2, FinalBudget);
        for (int i = 1; i <= MostFinalSamples && open.Length > 0 && (i <= LeastFinalSamples || _spent < end); i++)
        {
            foreach (Entry entry in open)
            {
                SampleOnce(entry, LongSample);
            }

            if (i >= LeastFinalSamples)
            {
                double best = open.Min(static entry => entry.Minimum);
                open = [.. open.Where(entry => !entry.IsKnown || entry.Minimum <= best * (1 + LeastGain))];
                if (open.All(static entry => entry.IsKnown))
                {
                    return;
                }
            }
        }
    }

    private void KeepNear(double margin, int most, Func<Entry, double> time)
    {
        Entry[] ranked = [.. Running().OrderBy(time)];
        for (int i = 1; i < ranked.Length; i++)
        {
            double ratio = time(ranked[i]) / time(ranked[0]);
            if ((i >= most || ratio > margin) && !IsUntuned(ranked[i]))
            {
                ranked[i].Leave($"{ratio:F2} times the best after {ranked[i].Count} sample(s)");
            }
        }
    }

    private bool IsUntuned(Entry entry) => entry.Candidate.Name == _workload.Untuned;

    private Entry[] Running() => [.. _entries.Where(static entry => entry.Runs)];

    private double Best() => _entries.Where(static entry => entry.Runs && entry.HasSamples).Select(static entry => entry.Minimum).DefaultIfEmpty(double.PositiveInfinity).Min();

    private void Report(double share)
    {
        if (_progress is not null)
        {
            Entry? best = _entries.Where(static entry => entry.Runs && entry.HasSamples).MinBy(static entry => entry.Minimum);
            _progress.Report(new TuningProgress(
                _entries.Count(static entry => entry.HasSamples),
                _entries.Count(static entry => entry.Candidate.Pruned is null),
                best?.Candidate.Name,
                best?.Minimum ?? 0,
                share));
        }
    }

    /// <summary>A variant in the race.</summary>
    private sealed class Entry(TuningCandidate candidate)
    {
        private readonly List<double> _samples = [];
        private int _start;
        private VariantOutcome? _outcome = candidate.Pruned is null ? null : VariantOutcome.Pruned;

        public TuningCandidate Candidate => candidate;

        public string? Reason { get; private set; } = candidate.Pruned;

        /// <summary>Whether nothing is known of it yet.</summary>
        public bool IsWaiting => _outcome is null;

        /// <summary>Whether it was verified and is not out.</summary>
        public bool Runs => _outcome == VariantOutcome.Finalist;

        public bool HasSamples => _samples.Count > _start;

        public int Count => _samples.Count;

        /// <summary>Samples since the last <see cref="Restart"/>.</summary>
        public int Fresh => _samples.Count - _start;

        /// <summary>Whether a single multiplication is longer than a sample need be.</summary>
        public bool IsLong => HasSamples && Minimum >= LongRun;

        /// <summary>Of this round and those before; from the final on of the final alone, whose samples are longer.</summary>
        public double Minimum => _samples.Skip(_start).Min();

        /// <summary>Whether two samples agree on the least time.</summary>
        public bool IsKnown => Fresh > 1 && _samples.Skip(_start).Order().ElementAt(1) <= Minimum * (1 + Agreement);

        public void Start(string? wrong) => (_outcome, Reason) = (wrong is null ? VariantOutcome.Finalist : VariantOutcome.Wrong, wrong);

        public void Fail(string reason) => (_outcome, Reason) = (VariantOutcome.Failed, reason);

        public void Leave(FormattableString reason) =>
            (_outcome, Reason) = (VariantOutcome.Eliminated, reason.ToString(System.Globalization.CultureInfo.InvariantCulture));

        public void Add(double sample) => _samples.Add(sample);

        /// <summary>Samples that cannot be put beside others' are no timing.</summary>
        public void Forget() => _samples.Clear();

        /// <summary>Counts only what comes from now on; a record has the samples of the last round that the variant ran in.</summary>
        public void Restart() => _start = Runs ? _samples.Count : _start;

        public VariantResult Result() => new(
            candidate.Name, candidate.Group, _outcome ?? VariantOutcome.Eliminated, Reason, HasSamples ? TuningTiming.Of(_samples.Skip(_start)) : null);
    }
}
