namespace KernelGen.Backends.Cuda;

/// <summary>
/// What a decoder does around its int8 multiplications, on a device. Every method queues on a stream and waits for nothing, so that a step can be
/// captured in a CUDA graph; what changes from step to step (tokens, positions, lines of the page table) is read from device memory. Activations
/// are f16; the residual stream is f32, since it sums dozens of branches whose outlier features are hundreds of times larger than the rest, and
/// reading it costs little beside the weights. A row's result never depends on the rows beside it, except through the columns that
/// <see cref="OutlierPolicy.Columns"/> marks. Rows whose position is <see cref="DecoderRow.Inactive"/> give zeros and touch no cache.
/// </summary>
internal sealed unsafe partial class CudaDecoderKernels : IDisposable
{
    private const int Hopper = 90, Ampere = 80;

    private readonly CudaContext context;

    private readonly Dictionary<string, Lazy<CudaKernel>> kernels = [];

    /// <param name="context">The device.</param>
    /// <param name="set">The generated kernels.</param>
    /// <param name="capability">The newest kernels to use, compute capability times ten; the default is the device's.</param>
    /// <exception cref="NotSupportedException">The device is older than compute capability 8.0.</exception>
    public CudaDecoderKernels(CudaContext context, DecoderKernelSet set, int capability = int.MaxValue)
    {
        this.context = context;
        Capability = Math.Min(capability, context.Device.ComputeCapability) >= Hopper ? Hopper : Ampere;
        if (context.Device.ComputeCapability < Ampere)
        {
            throw new NotSupportedException($"A decoder on the device needs compute capability 8.0, this is {context.Device}: run the model on the processor.");
        }

        HeadSizes = set.HeadSizes;
        foreach (CudaKernelVariant variant in set.Variants.Where(variant => variant.Reject(context.Device) is null))
        {
            kernels.Add(variant.Name, new Lazy<CudaKernel>(() => new CudaKernel(context, variant)));
        }
    }

    /// <summary>80, or 90 for kernels that start while the one ahead of them still runs.</summary>
    public int Capability { get; }

    /// <summary>The widths of heads that there are attention kernels for.</summary>
    public IReadOnlyList<int> HeadSizes { get; }

    /// <summary>Compiles every kernel that the device can run.</summary>
    public IEnumerable<CudaKernel> LoadAll() => kernels.Values.Select(kernel => kernel.Value);

    public void Dispose()
    {
        foreach (Lazy<CudaKernel> kernel in kernels.Values.Where(kernel => kernel.IsValueCreated))
        {
            kernel.Value.Dispose();
        }
    }

    private CudaKernel Kernel(string name) => kernels.TryGetValue(name, out Lazy<CudaKernel>? kernel)
        ? kernel.Value
        : throw new InvalidOperationException($"No kernel {name} was generated; the sizes of heads are {string.Join(", ", HeadSizes)}.");

    private void Launch<T>(CudaStream stream, string name, T arguments, long blocks, int threads, int sharedBytes = 0)
        where T : unmanaged
    {
        void** parameters = stackalloc void*[] { &arguments };
        Kernel(name).Launch(stream, checked((uint)blocks), (uint)threads, sharedBytes, parameters, early: Capability >= Hopper);
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new ArgumentException(message);
        }
    }
}
