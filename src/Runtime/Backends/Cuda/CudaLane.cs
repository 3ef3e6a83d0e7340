using KernelGen.Quantization;

namespace KernelGen.Backends.Cuda;

/// <summary>
/// A stream with what one multiplication of host memory needs: pinned memory, which the device copies without the host's help, device memory, and a
/// thread that sleeps until the stream is done. One multiplication at a time.
/// </summary>
internal sealed unsafe class CudaLane : IDisposable
{
    /// <summary>Parts of a buffer begin at whole vectors of any kernel.</summary>
    private const int Alignment = 256;

    private readonly CudaContext _context;
    private readonly CudaStream _stream;
    private readonly CudaMatMulWorkspace _workspace;
    private readonly CudaEvent _done;
    private readonly SemaphoreSlim _queued = new(0);
    private readonly Thread _waiter;
    private PinnedBuffer? _host;
    private CudaBuffer? _device;
    private TaskCompletionSource? _completion;
    private long _outputOffset;

    public CudaLane(CudaContext context)
    {
        _context = context;
        _stream = new CudaStream(context);
        _workspace = new CudaMatMulWorkspace(context, _stream);
        _done = new CudaEvent(context, blocking: true);
        _waiter = new Thread(WaitForTheStream) { IsBackground = true, Name = $"KernelGen cuda:{context.Device.Ordinal} lane" };
        _waiter.Start();
    }

    public CudaStream Stream => _stream;

    /// <summary>Copies the activations and queues everything up to the copy of the results.</summary>
    /// <returns>Completes, on a thread of the pool, when the stream has done it; then <see cref="Read"/> has the results.</returns>
    public Task Queue<TInput, TOutput>(
        CudaInt8MatMul matMul,
        ReadOnlySpan<TInput> a,
        int rows,
        int inputStride,
        CudaInt8Weights weights,
        ReadOnlySpan<float> bias,
        Activation activation)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        int k = weights.InputFeatures, n = weights.OutputFeatures;
        long biasOffset = Align((long)rows * k * sizeof(TInput));
        long biasBytes = bias.IsEmpty ? 0 : weights.Padded * (long)sizeof(float);
        _outputOffset = biasOffset + Align(biasBytes);
        long outputBytes = (long)rows * n * sizeof(TOutput);
        Reserve(_outputOffset + Align(outputBytes));
        byte* host = (byte*)_host!.Value;
        for (int row = 0; row < rows; row++)
        {
            a.Slice(row * inputStride, k).CopyTo(new Span<TInput>(host + ((long)row * k * sizeof(TInput)), k));
        }

        if (biasBytes > 0)
        {
            Span<float> padded = new(host + biasOffset, weights.Padded);
            bias.CopyTo(padded);
            padded[n..].Clear();
        }

        ulong device = _device!.Address;
        Transfer(host, device, biasOffset + biasBytes, toDevice: true);
        matMul.Multiply(
            _workspace,
            new CudaMatrix(device, Elements.FormatOf<TInput>(), k),
            rows,
            weights,
            new CudaMatrix(device + (ulong)_outputOffset, Elements.FormatOf<TOutput>(), n),
            biasBytes > 0 ? device + (ulong)biasOffset : 0,
            activation);
        Transfer(host + _outputOffset, device + (ulong)_outputOffset, outputBytes, toDevice: false);
        _done.Record(_stream);
        TaskCompletionSource completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _completion = completion;
        _queued.Release();
        return completion.Task;
    }

    /// <summary>The results of what was queued last.</summary>
    public void Read<TOutput>(int rows, int n, Span<TOutput> result, int outputStride)
        where TOutput : unmanaged
    {
        byte* results = (byte*)_host!.Value + _outputOffset;
        for (int row = 0; row < rows; row++)
        {
            new ReadOnlySpan<TOutput>(results + ((long)row * n * sizeof(TOutput)), n).CopyTo(result.Slice(row * outputStride, n));
        }
    }

    /// <summary>Brings the lane back to order after something failed half way; on a lost device nothing can.</summary>
    public void Recover()
    {
        try
        {
            _stream.Synchronize();
            _workspace.Reset();
        }
        catch (CudaException)
        {
            // The next multiplication says what is wrong.
        }
    }

    /// <summary>Nothing may be queued any more.</summary>
    public void Dispose()
    {
        _completion = null;
        _queued.Release();
        _waiter.Join();
        _queued.Dispose();
        _done.Dispose();
        _workspace.Dispose();
        _device?.Dispose();
        _host?.Dispose();
        _stream.Dispose();
    }

    private static long Align(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    private void Reserve(long bytes)
    {
        if (_host is null || _host.Bytes < bytes)
        {
            _host?.Dispose();
            _host = null;
            _host = new PinnedBuffer(_context, bytes);
        }

        if (_device is null || _device.Bytes < bytes)
        {
            _device?.Dispose();
            _device = null;
            _device = new CudaBuffer(_context, bytes, _stream);
        }
    }

    private void Transfer(byte* host, ulong device, long bytes, bool toDevice)
    {
        _context.Use();
        CudaDriver.Check(toDevice
            ? CudaDriver.cuMemcpyHtoDAsync_v2(device, host, (nuint)bytes, _stream.Value)
            : CudaDriver.cuMemcpyDtoHAsync_v2(host, device, (nuint)bytes, _stream.Value));
    }

    private void WaitForTheStream()
    {
        while (true)
        {
            _queued.Wait();
            if (_completion is not { } completion)
            {
                return;
            }

            try
            {
                _done.Synchronize();
                completion.SetResult();
            }
            catch (Exception exception)
            {
                // The caller's, whatever it is.
                completion.SetException(exception);
            }
        }
    }
}
