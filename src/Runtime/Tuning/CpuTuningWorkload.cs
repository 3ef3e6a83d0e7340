using System.Diagnostics;
using System.Runtime.InteropServices;
using KernelGen.Backends.Cpu;
using KernelGen.Kernels;
using KernelGen.MatMul;
using KernelGen.Reference;

namespace KernelGen.Tuning;

/// <summary>
/// A whole LLM.int8() layer on the processor, float32 in and out, on all its threads. Few rows, whose time goes into reading weights, go round as
/// many copies of them as no cache holds, as the layers of a model do.
/// </summary>
internal sealed class CpuTuningWorkload : TuningWorkload
{
    private const int MostColdRows = 16, FewestCopies = 2, MostCopies = 64;

    private const double ColdBytes = 128 << 20;

    private static int s_warm;

    private readonly Int8KernelSet _set;
    private readonly int _n;
    private readonly int _k;
    private readonly float[] _activations;
    private readonly float[] _result;
    private readonly ResultVerifier _verifier;
    private readonly Dictionary<string, CpuVariant> _variants;
    private readonly Dictionary<CpuKernelFamily, List<Int8Weights>> _weights = [];
    private readonly Dictionary<string, double> _last = [];
    private readonly Dictionary<CpuKernelFamily, int> _turns = [];

    public CpuTuningWorkload(Int8KernelSet set, int rows, int n, int k)
    {
        WarmUp(set);
        (_set, Rows, _n, _k) = (set, rows, n, k);
        CpuTuningSpace space = set.Cpu.Space;
        Key = new TuningKey(space.Target, "", CpuTuningSpace.Runtime, RowBucket.Of(rows), n, k);
        int[] outliers = SyntheticData.OutlierColumns(set.Spec, k);
        OutlierColumns = outliers.Length;
        _activations = new float[checked(rows * k)];
        for (int m = 0; m < rows; m++)
        {
            SyntheticData.FillActivations(set.Spec, m, outliers, _activations.AsSpan(m * k, k));
        }

        _result = new float[checked(rows * n)];
        _verifier = new ResultVerifier(
            new ResultOracle(set.Spec, rows, new SyntheticData.Weights(set.Spec, n, k, uniform: false), outliers, OutlierOrder.Apart),
            [.. Enumerable.Range(0, rows)],
            n,
            ElementFormat.Float32);
        _variants = space.All.ToDictionary(static variant => variant.Name);
        List<TuningCandidate> candidates = [];
        foreach (IGrouping<CpuKernelFamily, (CpuVariant Variant, string? Pruned)> family in space.For(rows, n, k).GroupBy(static candidate => candidate.Variant.Family))
        {
            // With each kernel, the cut that the rules would take leads, or what comes to the same for this shape.
            (CpuVariant Variant, string? Pruned)[] members = PrunedByWeights(family.Key) is { } unsuitable
                ? [(family.First().Variant, family.First().Pruned ?? unsuitable)]
                : [.. family];
            CpuSchedule plain = CpuSchedule.Default(family.Key, rows);
            CpuVariant[] leaders = [.. members.Where(static member => member.Pruned is null).Select(static member => member.Variant)
                .GroupBy(static variant => variant.Schedule.TileRows)
                .Select(kernel => kernel.MaxBy(variant => (variant.Schedule.ProductsPerThread == plain.ProductsPerThread ? 4 : 0)
                    + (variant.Schedule.BlockColumns == plain.BlockColumns ? 2 : 0) + (variant.Schedule.BlockRows == plain.BlockRows ? 1 : 0))!)];
            if (family.Key == set.Preferred)
            {
                Untuned = leaders.MaxBy(static leader => leader.Schedule.TileRows)!.Name;
            }

            candidates.AddRange(members.Select(member => new TuningCandidate(
                member.Variant.Name, member.Variant.Group, $"{member.Variant.Group} {member.Variant.Schedule.TileRows}", leaders.Contains(member.Variant), member.Pruned)));
        }

        Candidates = candidates;
    }

    public override TuningKey Key { get; }

    public override int Rows { get; }

    public override int OutlierColumns { get; }

    public override string Untuned { get; } = "";

    public override IReadOnlyList<TuningCandidate> Candidates { get; }

    public override IReadOnlyDictionary<string, string> Revoked => _verifier.Revoked;

    public override bool RoughDiffers => Rows <= MostColdRows;

    public override string? Verify(TuningCandidate candidate, out double microseconds)
    {
        CpuVariant variant = _variants[candidate.Name];
        Int8Weights weights = WeightsOf(variant.Family)[0];
        _result.AsSpan().Fill(float.NaN);
        long start = Stopwatch.GetTimestamp();
        Multiply(variant, weights);
        double elapsed = _last[candidate.Name] = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
        microseconds = elapsed >= TuningRace.LongRun && !RoughDiffers ? elapsed : 0;
        return _verifier.Check(candidate.Name, MemoryMarshal.AsBytes<float>(_result));
    }

    public override double Sample(TuningCandidate candidate, double microseconds, bool rough = false)
    {
        CpuVariant variant = _variants[candidate.Name];
        List<Int8Weights> copies = WeightsOf(variant.Family);
        int calls = (int)Math.Clamp(Math.Ceiling(microseconds / Math.Max(_last[candidate.Name], 1)), 1, 1 << 16);
        int turn = _turns.GetValueOrDefault(variant.Family);
        if (!rough)
        {
            AddCopies(variant, copies);
            _turns[variant.Family] = turn + calls + 1;
        }

        if (_last[candidate.Name] < TuningRace.LongRun)
        {
            // Verification and other variants came between: threads sleep, and the code is out of the cache.
            Multiply(variant, copies[(turn + calls) % copies.Count]);
        }

        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < calls; i++)
        {
            Multiply(variant, copies[(turn + i) % copies.Count]);
        }

        return _last[candidate.Name] = Stopwatch.GetElapsedTime(start).TotalMicroseconds / calls;
    }

    public override void Dispose()
    {
        foreach (Int8Weights weights in _weights.Values.SelectMany(static copies => copies))
        {
            weights.Dispose();
        }
    }

    private void Multiply(CpuVariant variant, Int8Weights weights) =>
        _set.Multiply<float, float>(_activations, Rows, weights, _result, default, null, variant.Schedule);

    /// <summary>Why the weights do not suit a family; null where they do.</summary>
    private string? PrunedByWeights(CpuKernelFamily family) =>
        family.PairLimit > 0 && CpuFeatures.Supports(family.InstructionSet) && WeightsOf(family)[0].ReducedPairs > Int8KernelSet.MostReducedPairs
            ? "too many pairs of these weights exceed what its instruction sums in 16 bits"
            : null;

    private List<Int8Weights> WeightsOf(CpuKernelFamily family)
    {
        if (!_weights.TryGetValue(family, out List<Int8Weights>? copies))
        {
            int[] outliers = SyntheticData.OutlierColumns(_set.Spec, _k);
            copies = [_set.Quantize(
                new SyntheticData.Weights(_set.Spec, _n, _k, uniform: false),
                new WeightQuantizationOptions { FixedOutlierColumns = _set.Spec.Outliers == OutlierPolicy.Fixed ? outliers : null },
                family)];
            _weights.Add(family, copies);
        }

        return copies;
    }

    /// <summary>So many copies that none is in a cache when its turn comes.</summary>
    private void AddCopies(CpuVariant variant, List<Int8Weights> copies)
    {
        int wanted = Rows > MostColdRows ? 1 : (int)Math.Clamp(Math.Ceiling(ColdBytes / ((double)_n * _k)), FewestCopies, MostCopies);
        if (copies.Count >= wanted)
        {
            return;
        }

        while (copies.Count < wanted)
        {
            copies.Add(copies[0].Copy());
        }

        // What was written last is still to leave the caches, which would slow the first samples down.
        foreach (Int8Weights weights in copies)
        {
            Multiply(variant, weights);
        }
    }

    /// <summary>Code that is called often enough is compiled again with all optimizations, in the background: let that happen before anything is timed.</summary>
    private static void WarmUp(Int8KernelSet set)
    {
        if (Interlocked.Exchange(ref s_warm, 1) != 0)
        {
            return;
        }

        // As often as the runtime counts, then as long as it waits for a quiet moment, twice: a method may go through two stages.
        const int Calls = 40, Milliseconds = 150;
        const int Rows = 64, N = 128, K = 256;
        int[] outliers = SyntheticData.OutlierColumns(set.Spec, K);
        float[] a = new float[Rows * K], result = new float[Rows * N];
        for (int m = 0; m < Rows; m++)
        {
            SyntheticData.FillActivations(set.Spec, m, outliers, a.AsSpan(m * K, K));
        }

        using Int8Weights weights = set.Quantize(
            new SyntheticData.Weights(set.Spec, N, K, uniform: false),
            new WeightQuantizationOptions { FixedOutlierColumns = set.Spec.Outliers == OutlierPolicy.Fixed ? outliers : null },
            set.Preferred);
        for (int stage = 0; stage < 2; stage++)
        {
            for (int i = 0; i < Calls; i++)
            {
                set.Multiply<float, float>(a, Rows, weights, result, default, null, CpuSchedule.Default(set.Preferred, Rows));
                set.Multiply<float, float>(a, 1, weights, result, default, null, CpuSchedule.Default(set.Preferred, 1) with { ProductsPerThread = 1 });
            }

            Thread.Sleep(Milliseconds);
        }
    }
}
