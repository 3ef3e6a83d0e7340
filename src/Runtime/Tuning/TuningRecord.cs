namespace KernelGen.Tuning;

/// <summary>What a device can do at most, measured.</summary>
/// <param name="BytesPerSecond">Memory: reading on a processor, copying (read plus written) on a GPU.</param>
/// <param name="Int8OperationsPerSecond">Int8 multiplications and additions, counted as two, by the fastest instruction.</param>
/// <param name="FloatOperationsPerSecond">Float32 on a processor, float16 with float32 sums on a GPU, counted likewise.</param>
/// <param name="Int8By">The instruction that reached the int8 figure.</param>
/// <param name="FloatBy">The instruction that reached the float figure.</param>
internal sealed record TuningCeilings(
    double BytesPerSecond, double Int8OperationsPerSecond, double FloatOperationsPerSecond, string Int8By, string FloatBy);

/// <summary>The result of tuning one shape.</summary>
/// <param name="Key">What it is for.</param>
/// <param name="Rows">M as it was measured.</param>
/// <param name="OutlierColumns">Columns of the activations that held outliers.</param>
/// <param name="Ceilings">The device's ceilings; null where they were not measured.</param>
/// <param name="Untuned">The variant that the rules take without a record.</param>
/// <param name="Chosen">The fastest variant.</param>
/// <param name="Variants">Every variant: the choice first, then by time, then those without one.</param>
/// <param name="Seconds">What tuning took, data and verification included.</param>
/// <param name="MeasuredAt">When, in UTC, to the second.</param>
internal sealed record TuningRecord(
    TuningKey Key,
    int Rows,
    int OutlierColumns,
    TuningCeilings? Ceilings,
    string Untuned,
    string Chosen,
    IReadOnlyList<VariantResult> Variants,
    double Seconds,
    DateTime MeasuredAt)
{
    /// <summary>Integer operations of one multiplication, two per product.</summary>
    public double Operations => 2.0 * Rows * Key.N * Key.K;

    /// <summary>The bytes that one multiplication must move: int8 weights, activations and results once.</summary>
    public double Bytes => ((double)Key.N * Key.K) + ((double)Rows * Key.K * InputBytes) + ((double)Rows * Key.N * OutputBytes);

    /// <summary>Without the variants that decide nothing: finalists, the untuned one and the best of each group stay.</summary>
    public TuningRecord Compact()
    {
        HashSet<VariantResult> best =
            [.. Variants.Where(static variant => variant.Timing is not null).GroupBy(static variant => variant.Group).Select(static group => group.MinBy(static variant => variant.Timing!.Minimum)!)];
        return this with
        {
            Variants = [.. Variants.Where(variant => variant.Outcome == VariantOutcome.Finalist || variant.Name == Untuned || best.Contains(variant))],
        };
    }

    /// <summary>A variant's result; null where there is no such variant.</summary>
    public VariantResult? Find(string variant) => Variants.FirstOrDefault(candidate => candidate.Name == variant);

    /// <summary>A processor is given float32, a GPU float16.</summary>
    private int InputBytes => Key.Target.Device.Kind == TuningDevice.Cpu ? 4 : 2;

    private int OutputBytes => Key.Target.Output == ElementFormat.Float32 ? 4 : 2;
}
