using KernelGen.Cli.Errors;
using KernelGen.Inference.Benchmarks;
using KernelGen.Tuning;

namespace KernelGen.Cli.Models;

/// <summary>Tunes one set of kernels on one device.</summary>
internal abstract class TuningSession : IDisposable
{
    /// <summary>Opens a device.</summary>
    /// <param name="device">The GPU; null for the processor.</param>
    /// <param name="set">Whose kernels.</param>
    /// <param name="output">The results' type on a GPU.</param>
    /// <exception cref="BadInputException">The set has no kernels for it.</exception>
    public static TuningSession Open(CudaDevice? device, Int8KernelSet set, ElementFormat output)
    {
        if (device is null)
        {
            return new Cpu(set);
        }

        return set.CudaVariants.Count > 0
            ? new Cuda(device, set, output)
            : throw new BadInputException($"--spec: {KernelSpecs.ShortName(set)} has no CUDA kernels. Tune it on the cpu, or use one of {string.Join(", ", KernelSpecs.All.Where(static other => other.CudaVariants.Count > 0).Select(KernelSpecs.ShortName))}.");
    }

    /// <summary>What a record of a shape is for.</summary>
    public abstract TuningKey KeyOf(BenchmarkShape shape);

    /// <summary>Measures what the device can do at most.</summary>
    public abstract TuningCeilings MeasureCeilings();

    /// <summary>Tunes a shape.</summary>
    public TuningRecord Tune(BenchmarkShape shape, TuningCeilings? ceilings, IProgress<TuningProgress>? progress, CancellationToken cancellation) =>
        BadInputException.Check(ShapesOptionName, () => Tuner.Tune(() => Workload(shape), ceilings, progress, cancellation));

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>Data for a shape.</summary>
    public abstract TuningWorkload Workload(BenchmarkShape shape);

    private const string ShapesOptionName = Options.ShapesOption.Name;

    private sealed class Cpu(Int8KernelSet set) : TuningSession
    {
        public override TuningKey KeyOf(BenchmarkShape shape) =>
            new(set.Cpu.Space.Target, "", CpuTuningSpace.Runtime, RowBucket.Of(shape.M), shape.N, shape.K);

        public override TuningCeilings MeasureCeilings() => CpuCeilings.Measure();

        public override TuningWorkload Workload(BenchmarkShape shape) => new CpuTuningWorkload(set, shape.M, shape.N, shape.K);

        public override void Dispose()
        {
            // The processor is always there.
        }
    }

    private sealed class Cuda(CudaDevice device, Int8KernelSet set, ElementFormat output) : TuningSession
    {
        private readonly CudaTuningDevice _device = new(device, set.Spec, set.Name, set.CudaVariants);

        public override TuningKey KeyOf(BenchmarkShape shape) =>
            new(_device.TargetFor(output), Backends.Cuda.CudaDispatch.DriverOf(device), "", RowBucket.Of(shape.M), shape.N, shape.K);

        public override TuningCeilings MeasureCeilings() => CudaCeilings.Measure(_device.Context, _device.Stream);

        public override TuningWorkload Workload(BenchmarkShape shape) => new CudaTuningWorkload(_device, output, shape.M, shape.N, shape.K);

        public override void Dispose() => _device.Dispose();
    }
}
