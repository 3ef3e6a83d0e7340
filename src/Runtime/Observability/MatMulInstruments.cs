using System.Diagnostics.Metrics;
using KernelGen.Kernels;

namespace KernelGen.Observability;

/// <summary>
/// Multiplications and quantizations on the processor. On the hot path: where nobody listens an instrument costs the reading of a field, and never
/// an allocation.
/// </summary>
internal static class MatMulInstruments
{
    private static readonly string[] InstructionSets = Enum.GetNames<CpuInstructionSet>();

    private static readonly Histogram<double> Duration = Telemetry.Meter.CreateHistogram<double>(
        "kernelgen.matmul.duration", "s", "Time of a multiplication on the processor, quantization of the activations included.");

    private static readonly Counter<long> Rows = Telemetry.Meter.CreateCounter<long>(
        "kernelgen.matmul.rows", "{row}", "Rows of activations that were multiplied on the processor.");

    private static readonly Histogram<int> OutlierColumns = Telemetry.Meter.CreateHistogram<int>(
        "kernelgen.matmul.outlier_columns", "{column}", "Columns of a multiplication that were left out of int8, on the processor.");

    private static readonly Histogram<double> QuantizationDuration = Telemetry.Meter.CreateHistogram<double>(
        "kernelgen.quantization.duration", "s", "Time to quantize and pack a matrix of weights.");

    private static readonly Counter<long> QuantizedWeights = Telemetry.Meter.CreateCounter<long>(
        "kernelgen.quantization.weights", "{weight}", "Weights that were quantized and packed.");

    /// <summary>Begins a multiplication.</summary>
    public static long StartMultiplication() => Telemetry.Start(Duration);

    /// <summary>Ends a multiplication that succeeded.</summary>
    public static void StopMultiplication(long start, Int8KernelSet set, CpuKernelFamily family, int rows, int outlierColumns)
    {
        if (!Duration.Enabled && !Rows.Enabled && !OutlierColumns.Enabled)
        {
            return;
        }

        KeyValuePair<string, object?> kernels = new(Telemetry.Kernels, set.Name), device = new(Telemetry.Device, InstructionSets[(int)family.InstructionSet]);
        if (start != 0)
        {
            Duration.Record(Telemetry.Seconds(start), kernels, device);
        }

        Rows.Add(rows, kernels, device);
        OutlierColumns.Record(outlierColumns, kernels, device);
    }

    /// <summary>Begins a quantization.</summary>
    public static long StartQuantization() => Telemetry.Start(QuantizationDuration);

    /// <summary>Ends a quantization that succeeded.</summary>
    public static void StopQuantization(long start, Int8KernelSet set, Int8Weights weights)
    {
        KeyValuePair<string, object?> kernels = new(Telemetry.Kernels, set.Name),
            device = new(Telemetry.Device, InstructionSets[(int)weights.Family.InstructionSet]);
        if (start != 0)
        {
            QuantizationDuration.Record(Telemetry.Seconds(start), kernels, device);
        }

        QuantizedWeights.Add((long)weights.OutputFeatures * weights.InputFeatures, kernels, device);
    }
}
