using System.Text;
using static KernelGen.Backends.Cuda.CudaDriver;

namespace KernelGen;

/// <summary>An NVIDIA GPU as its driver describes it. Immutable: any thread may use it.</summary>
public sealed class CudaDevice
{
    private unsafe CudaDevice(int ordinal)
    {
        Ordinal = ordinal;
        Check(cuDeviceGet(out int handle, ordinal));
        Handle = handle;
        byte* text = stackalloc byte[256];
        Check(cuDeviceGetName(text, 256, handle));
        Name = Encoding.UTF8.GetString(text, new ReadOnlySpan<byte>(text, 256).IndexOf((byte)0));
        byte* uuid = stackalloc byte[16];
        Check(cuDeviceGetUuid_v2(uuid, handle));
        Uuid = Convert.ToHexStringLower(new ReadOnlySpan<byte>(uuid, 16));
        Check(cuDeviceTotalMem_v2(out nuint bytes, handle));
        MemoryBytes = (long)bytes;
        ComputeCapability = (Attribute(75) * 10) + Attribute(76);
        Multiprocessors = Attribute(16);
        SharedMemoryPerBlock = Attribute(97);
        L2Bytes = Attribute(38);
        Check(cuDriverGetVersion(out int version));
        DriverVersion = version;
    }

    /// <summary>Why no CUDA device can be used here, e.g. that the driver is not installed; or null.</summary>
    public static string? Unavailable =>
        Backends.Cuda.CudaDriver.Unavailable ?? (Count() == 0 ? "The CUDA driver finds no device." : null);

    /// <summary>The devices of this machine, in the driver's order; empty where there are none.</summary>
    /// <exception cref="CudaException">The driver fails to describe a device.</exception>
    public static IReadOnlyList<CudaDevice> All => Backends.Cuda.CudaDriver.Unavailable is null
        ? [.. Enumerable.Range(0, Count()).Select(ordinal => new CudaDevice(ordinal))]
        : [];

    /// <summary>Its number in the driver's order, from 0.</summary>
    public int Ordinal { get; }

    /// <summary>The product's name.</summary>
    public string Name { get; }

    /// <summary>The device's own identity, 32 hexadecimal digits.</summary>
    public string Uuid { get; }

    /// <summary>Bytes of device memory.</summary>
    public long MemoryBytes { get; }

    /// <summary>Major version times ten plus minor version: 90 is compute capability 9.0.</summary>
    public int ComputeCapability { get; }

    /// <summary>Streaming multiprocessors.</summary>
    public int Multiprocessors { get; }

    /// <summary>The most bytes of shared memory that a thread block may have.</summary>
    public int SharedMemoryPerBlock { get; }

    /// <summary>Bytes of second-level cache.</summary>
    public int L2Bytes { get; }

    /// <summary>The CUDA version that the driver supports: 13000 is 13.0.</summary>
    public int DriverVersion { get; }

    internal int Handle { get; }

    /// <inheritdoc/>
    public override string ToString() =>
        $"cuda:{Ordinal} {Name}, compute capability {ComputeCapability / 10}.{ComputeCapability % 10}, {Multiprocessors} multiprocessors, {MemoryBytes >> 20} MiB";

    private static int Count()
    {
        Check(cuDeviceGetCount(out int count));
        return count;
    }

    private int Attribute(int attribute)
    {
        Check(cuDeviceGetAttribute(out int value, attribute, Handle));
        return value;
    }
}
