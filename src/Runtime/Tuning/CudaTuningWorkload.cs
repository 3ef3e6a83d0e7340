using KernelGen.Backends.Cuda;
using KernelGen.Reference;

namespace KernelGen.Tuning;

/// <summary>A whole LLM.int8() layer on a GPU, float16 in: device time, by replays of a graph.</summary>
internal sealed class CudaTuningWorkload : TuningWorkload
{
    /// <summary>Results that are read back for verification; of larger ones, a row in each group of rows.</summary>
    private const long MostVerifiedBytes = 2 << 20;

    /// <summary>The rows that one instruction's fragment covers at least: a kernel that is wrong anywhere is wrong in one of them.</summary>
    private const int RowGroup = 8;

    private readonly Dictionary<string, CudaKernelVariant> _variants;
    private CudaTuningDevice? _owned;
    private readonly CudaWorkload _workload;
    private readonly ResultVerifier _verifier;
    private readonly byte[] _results;

    /// <param name="device">The device with its loaded kernels, which outlives the workload.</param>
    /// <param name="output">The results' type.</param>
    /// <param name="rows">M.</param>
    /// <param name="n">N.</param>
    /// <param name="k">K.</param>
    /// <exception cref="CudaException">Out of device memory.</exception>
    public CudaTuningWorkload(CudaTuningDevice device, ElementFormat output, int rows, int n, int k)
    {
        Rows = rows;
        Key = new TuningKey(device.TargetFor(output), CudaDispatch.DriverOf(device.Context.Device), "", RowBucket.Of(rows), n, k);
        int[] outliers = SyntheticData.OutlierColumns(device.Spec, k);
        OutlierColumns = outliers.Length;
        SyntheticData.Weights weights = new(device.Spec, n, k, uniform: true);
        ResultOracle oracle = new(device.Spec, rows, weights, outliers, device.Spec.Outliers == OutlierPolicy.Fixed ? OutlierOrder.Chained : OutlierOrder.Unscaled);
        int elementBytes = output == ElementFormat.Float32 ? 4 : 2;
        _verifier = new ResultVerifier(oracle, VerifiedRows(oracle.Rows, rows, (long)n * elementBytes), n, output);
        _results = new byte[_verifier.Bytes];
        CudaKernelVariant[] gemms = [.. device.Variants.Where(variant => variant.IsGemm && variant.Format == output)];
        _variants = gemms.ToDictionary(static variant => variant.Name);
        Candidates = [.. gemms.Select(variant => new TuningCandidate(
            variant.Name,
            variant.Role.ToString(),
            variant.Name,
            Leads: true,
            variant.Reject(device.Context.Device) ?? (variant.Takes(rows) ? null : $"takes at most {variant.BlockM} rows")))];
        CudaKernelVariant[] usable = [.. gemms.Where(variant => variant.Reject(device.Context.Device) is null && variant.Takes(rows))];
        Untuned = CudaKernelChoice.Choose(device.Context.Device, usable, rows, n, k)?.Name
            ?? throw new InvalidOperationException($"No generated kernel multiplies {rows} rows into {output} on {device.Context.Device}.");
        _workload = new CudaWorkload(device.Context, device.Stream, device.MatMul, device.Spec, rows, weights, outliers, output, CudaOperation.Layer);
    }

    public override TuningKey Key { get; }

    public override int Rows { get; }

    public override int OutlierColumns { get; }

    public override string Untuned { get; }

    public override IReadOnlyList<TuningCandidate> Candidates { get; }

    public override IReadOnlyDictionary<string, string> Revoked => _verifier.Revoked;

    /// <summary>A workload with the device for it alone.</summary>
    public static CudaTuningWorkload Alone(
        CudaDevice device, Int8Spec spec, IReadOnlyList<CudaKernelVariant> variants, ElementFormat output, int rows, int n, int k, string name = "")
    {
        CudaTuningDevice owned = new(device, spec, name, variants);
        try
        {
            return new CudaTuningWorkload(owned, output, rows, n, k) { _owned = owned };
        }
        catch
        {
            owned.Dispose();
            throw;
        }
    }

    public override string? Verify(TuningCandidate candidate, out double microseconds)
    {
        microseconds = 0;
        _workload.Run(_variants[candidate.Name], _verifier.Rows, _results);
        return _verifier.Check(candidate.Name, _results);
    }

    public override double Sample(TuningCandidate candidate, double microseconds, bool rough = false) => _workload.Sample(_variants[candidate.Name], microseconds);

    public override void Dispose()
    {
        _workload.Dispose();
        _owned?.Dispose();
    }

    private static int[] VerifiedRows(int[] oracleRows, int rows, long rowBytes)
    {
        if (rows * rowBytes <= MostVerifiedBytes)
        {
            return [.. Enumerable.Range(0, rows)];
        }

        Random random = new(rows);
        return [.. Enumerable.Range(0, rows / RowGroup).Select(group => (group * RowGroup) + random.Next(RowGroup)).Concat(oracleRows).Distinct().Order()];
    }
}
