using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>
/// A device's part of a model, with its queue of work. Decoding passes are graphs, one per part of a pass, bucket of rows and context lengths, captured when they
/// are needed first.
/// </summary>
internal sealed class CudaStage : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly Dictionary<(bool IsEnd, int Rows, int Context), CudaGraph> _graphs = [];

    /// <summary>Loads the part.</summary>
    public CudaStage(
        CudaContext context,
        CudaDecoderKernels kernels,
        DecoderPlan plan,
        DeviceMemoryPlan memory,
        DecoderWeights weights,
        DecoderInputs? home,
        float? outlierThreshold,
        LoadingProgress progress,
        CancellationToken cancellation)
    {
        (Context, Kernels, Memory) = (context, kernels, memory);
        try
        {
            Stream = Own(new CudaStream(context));
            using (CudaWeightLoader loader = new(context, Stream, weights))
            {
                Parameters = Own(CudaParameters.Load(plan, memory, loader, weights, context, Stream, progress, cancellation));
                BytesUploaded = loader.BytesCopied;
            }

            Inputs = Own(new DecoderInputs(memory, context, home));
            Decoder = Own(new CudaDecoder(plan, memory, Parameters, Inputs, kernels, outlierThreshold, Stream));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public CudaContext Context { get; }

    public CudaDecoderKernels Kernels { get; }

    public DeviceMemoryPlan Memory { get; }

    public CudaStream Stream { get; }

    public CudaParameters Parameters { get; }

    public DecoderInputs Inputs { get; }

    public CudaDecoder Decoder { get; }

    /// <summary>Bytes that were copied to the device while it was loaded.</summary>
    public long BytesUploaded { get; }

    /// <summary>Queues a part of a decoding pass, as a graph from the second time on.</summary>
    /// <param name="isEnd">Whether it is what follows the last layer.</param>
    /// <param name="rows">The bucket of rows and of context lengths.</param>
    /// <param name="queue">Queues the part.</param>
    public void Replay(bool isEnd, DecoderRows rows, Action queue)
    {
        if (_graphs.TryGetValue((isEnd, rows.Rows, rows.LongestContext), out CudaGraph? graph))
        {
            graph.Launch(Stream);
            return;
        }

        // The first time the part itself is queued: kernels are compiled and loaded by it, which a capture forbids.
        queue();
        Stream.Synchronize();
        _graphs.Add((isEnd, rows.Rows, rows.LongestContext), Stream.Capture(queue));
    }

    public void Dispose()
    {
        foreach (CudaGraph graph in _graphs.Values)
        {
            graph.Dispose();
        }

        for (int i = _owned.Count - 1; i >= 0; i--)
        {
            _owned[i].Dispose();
        }
    }

    private T Own<T>(T item)
        where T : IDisposable
    {
        _owned.Add(item);
        return item;
    }
}
