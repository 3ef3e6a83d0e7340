using System.Text;
using KernelGen.Observability;
using static KernelGen.Backends.Cuda.CudaDriver;

namespace KernelGen.Backends.Cuda;

/// <summary>A kernel that the driver has compiled for a device. Loaded once, when it is first needed; safe to share between threads.</summary>
internal sealed unsafe class CudaKernel : IDisposable
{
    private const int MaxDynamicSharedBytes = 8, JitErrorLog = 5, JitErrorLogBytes = 6, LogBytes = 1 << 14, StaticShared = 48 << 10;

    private readonly CudaContext context;

    private readonly nint function;

    private nint module;

    private readonly Lock sharing = new();

    private int allowedShared = StaticShared;

    /// <exception cref="CudaException">The driver refuses the text; the message has the compiler's log.</exception>
    public CudaKernel(CudaContext context, CudaKernelVariant variant)
    {
        this.context = context;
        Variant = variant;
        long start = CudaInstruments.StartLoad();
        context.Use();
        ReadOnlySpan<byte> text = variant.Ptx();
        byte[] image = new byte[text.Length + 1];
        text.CopyTo(image);
        byte[] log = new byte[LogBytes];
        fixed (byte* imagePointer = image)
        {
            fixed (byte* logPointer = log)
            {
                int* options = stackalloc int[] { JitErrorLog, JitErrorLogBytes };
                void** values = stackalloc void*[] { logPointer, (void*)LogBytes };
                int code = cuModuleLoadDataEx(out module, imagePointer, 2, options, values);
                if (code != 0)
                {
                    int length = Array.IndexOf(log, (byte)0);
                    string said = Encoding.UTF8.GetString(log, 0, length < 0 ? LogBytes : length).Trim();
                    throw new CudaException(
                        "cuModuleLoadDataEx", code, Describe(code), $"The kernel was {variant.Name}, for {variant.Needs}, on {context.Device}.{(said.Length > 0 ? $" The PTX compiler says: {said}" : "")}");
                }
            }
        }

        try
        {
            Check(cuModuleGetFunction(out function, module, variant.Name));
            if (variant.SharedBytes > StaticShared)
            {
                AllowShared(variant.SharedBytes);
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        CudaInstruments.StopLoad(start, context.Device, variant.Name);
        CudaLog.KernelLoaded(Telemetry.Logger("Cuda"), variant, context.Device);
    }

    public CudaKernelVariant Variant { get; }

    /// <summary>Registers per thread and bytes of local memory per thread, as compiled.</summary>
    public (int Registers, int LocalBytes) Resources()
    {
        context.Use();
        Check(cuFuncGetAttribute(out int registers, 4, function));
        Check(cuFuncGetAttribute(out int local, 3, function));
        return (registers, local);
    }

    /// <summary>Lets launches ask for more dynamic shared memory than every device grants unasked. What was allowed once stays so: other threads may count on it.</summary>
    public void AllowShared(int bytes)
    {
        if (bytes <= Volatile.Read(ref allowedShared))
        {
            return;
        }

        lock (sharing)
        {
            if (bytes > allowedShared)
            {
                context.Use();
                Check(cuFuncSetAttribute(function, MaxDynamicSharedBytes, bytes));
                Volatile.Write(ref allowedShared, bytes);
            }
        }
    }

    /// <summary>Queues the kernel.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="grid">Thread blocks.</param>
    /// <param name="threads">Threads per block.</param>
    /// <param name="sharedBytes">Dynamic shared memory.</param>
    /// <param name="parameters">Pointers to the parameters; copied before the call returns.</param>
    /// <param name="early">Whether it may start before the kernel ahead of it has ended: it then waits itself (griddepcontrol).</param>
    /// <param name="cluster">Thread blocks that run at the same time and reach each other's shared memory; the grid is a multiple.</param>
    public void Launch(CudaStream stream, uint grid, uint threads, int sharedBytes, void** parameters, bool early = false, uint cluster = 1)
    {
        ObjectDisposedException.ThrowIf(module == 0, this);
        context.Use();
        LaunchAttribute* attributes = stackalloc LaunchAttribute[2];
        uint count = 0;
        if (early)
        {
            attributes[count++] = new LaunchAttribute { Id = LaunchAttribute.ProgrammaticStreamSerialization, Value = 1 };
        }

        if (cluster > 1)
        {
            attributes[count++] = new LaunchAttribute { Id = LaunchAttribute.ClusterDimension, Value = (int)cluster, Y = 1, Z = 1 };
        }

        LaunchConfiguration configuration = new()
        {
            GridX = grid,
            GridY = 1,
            GridZ = 1,
            BlockX = threads,
            BlockY = 1,
            BlockZ = 1,
            SharedBytes = (uint)sharedBytes,
            Stream = stream.Value,
            Attributes = attributes,
            AttributeCount = count,
        };
        int code = cuLaunchKernelEx(&configuration, function, parameters, null);
        if (code != 0)
        {
            throw new CudaException("cuLaunchKernelEx", code, Describe(code), $"The kernel was {Variant.Name}, {grid} blocks of {threads} threads with {sharedBytes} bytes of shared memory.");
        }

        CudaInstruments.Launched(context.Device, Variant.Name);
    }

    public void Dispose()
    {
        nint loaded = Interlocked.Exchange(ref module, 0);
        if (loaded != 0 && context.TryUse())
        {
            _ = cuModuleUnload(loaded);
        }
    }
}
