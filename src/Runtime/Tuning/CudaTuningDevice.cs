using KernelGen.Backends.Cuda;

namespace KernelGen.Tuning;

/// <summary>A GPU with a set's kernels, which are loaded as they are needed and stay for all shapes.</summary>
internal sealed class CudaTuningDevice : IDisposable
{
    private readonly string _name;
    private readonly Dictionary<ElementFormat, TuningTarget> _targets = [];

    /// <param name="device">The GPU.</param>
    /// <param name="spec">The numeric settings.</param>
    /// <param name="name">The annotated class.</param>
    /// <param name="variants">Every generated kernel.</param>
    /// <exception cref="CudaException">The driver refuses.</exception>
    public CudaTuningDevice(CudaDevice device, Int8Spec spec, string name, IReadOnlyList<CudaKernelVariant> variants)
    {
        (_name, Spec, Variants) = (name, spec, variants);
        Context = new CudaContext(device);
        Stream = new CudaStream(Context);
        MatMul = new CudaInt8MatMul(Context, spec, variants);
    }

    public CudaContext Context { get; }

    public CudaStream Stream { get; }

    public CudaInt8MatMul MatMul { get; }

    public Int8Spec Spec { get; }

    public IReadOnlyList<CudaKernelVariant> Variants { get; }

    /// <summary>What records of these kernels are about.</summary>
    public TuningTarget TargetFor(ElementFormat output)
    {
        if (!_targets.TryGetValue(output, out TuningTarget? target))
        {
            _targets.Add(output, target = CudaDispatch.TargetOf(Context.Device, Spec, _name, Variants, output));
        }

        return target;
    }

    public void Dispose()
    {
        MatMul.Dispose();
        Stream.Dispose();
        Context.Dispose();
    }
}
