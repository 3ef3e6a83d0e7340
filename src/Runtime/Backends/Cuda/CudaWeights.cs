using KernelGen.Backends.Cuda;

namespace KernelGen;

/// <summary>Int8 weights in a GPU's memory, for a <see cref="CudaMatMul"/> of the same kernels.</summary>
/// <remarks>
/// Thread-safe: any number of multiplications may use them at once, and any thread may dispose them. What is running then ends undisturbed, and
/// frees the memory when it is the last; what begins later throws an <see cref="ObjectDisposedException"/>.
/// </remarks>
public sealed class CudaWeights : IDisposable
{
    private readonly CudaContext _context;
    private int _holders = 1;
    private int _disposed;

    internal CudaWeights(Int8KernelSet kernels, CudaContext context, CudaInt8Weights matrix, string name)
    {
        (Kernels, _context, Matrix, Name) = (kernels, context, matrix, name);
    }

    /// <summary>What error messages call the matrix.</summary>
    public string Name { get; }

    /// <summary>The GPU that they are on.</summary>
    public CudaDevice Device => _context.Device;

    /// <summary>N.</summary>
    public int OutputFeatures => Matrix.OutputFeatures;

    /// <summary>K.</summary>
    public int InputFeatures => Matrix.InputFeatures;

    /// <summary>Bytes of device memory: the int8 weights, padded, with their statistics and the originals of a fixed set of outlier columns.</summary>
    public long Bytes => Matrix.Bytes;

    internal Int8KernelSet Kernels { get; }

    internal CudaInt8Weights Matrix { get; }

    /// <summary>Frees the memory, when the last multiplication that runs has ended.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            Release();
        }
    }

    /// <summary>Keeps the memory until <see cref="Release"/>.</summary>
    /// <exception cref="ObjectDisposedException">The weights are disposed.</exception>
    internal void Hold()
    {
        int holders = Volatile.Read(ref _holders);
        while (holders > 0 && Volatile.Read(ref _disposed) == 0)
        {
            int seen = Interlocked.CompareExchange(ref _holders, holders + 1, holders);
            if (seen == holders)
            {
                return;
            }

            holders = seen;
        }

        throw new ObjectDisposedException($"{nameof(CudaWeights)} '{Name}'");
    }

    internal void Release()
    {
        if (Interlocked.Decrement(ref _holders) == 0)
        {
            Matrix.Dispose();
            _context.Dispose();
        }
    }
}
