using System.Globalization;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime;
using ILGPU.Runtime.OpenCL;
using NvidiaDevice = ILGPU.Runtime.Cuda.CudaDevice;

namespace KernelGen;

/// <summary>The libraries through which ILGPU reaches a device.</summary>
public enum IlgpuDeviceKind
{
    /// <summary>Threads of this process that stand for a GPU's: to debug kernels on, not to be fast.</summary>
    Cpu,

    /// <summary>GPUs of any maker, and processors, through OpenCL.</summary>
    OpenCL,

    /// <summary>NVIDIA's GPUs.</summary>
    Cuda,
}

/// <summary>A device as ILGPU describes it.</summary>
public sealed class IlgpuDevice
{
    internal IlgpuDevice(Device device)
    {
        Device = device;
        (Kind, Remark) = device switch
        {
            NvidiaDevice => (IlgpuDeviceKind.Cuda, null),
            CLDevice { Capabilities.GenericAddressSpace: false } => (IlgpuDeviceKind.OpenCL, "ILGPU needs OpenCL 2.0's generic address space, which its driver lacks"),
            CLDevice cl when cl.CLStdVersion < CLBackend.MinimumVersion => (IlgpuDeviceKind.OpenCL, $"ILGPU needs OpenCL C 2.0, its driver has {cl.CLStdVersion}"),
            CLDevice => (IlgpuDeviceKind.OpenCL, (string?)null),
            _ => (IlgpuDeviceKind.Cpu, null),
        };
        ComputeCapability = device is NvidiaDevice { Architecture: { } architecture } ? (architecture.Major * 10) + architecture.Minor : 0;
    }

    /// <summary>The library that it is reached through.</summary>
    public IlgpuDeviceKind Kind { get; }

    /// <summary>The product's name.</summary>
    public string Name => Device.Name;

    /// <summary>Why it cannot be opened, or null.</summary>
    public string? Remark { get; }

    /// <summary>Bytes of device memory.</summary>
    public long MemoryBytes => Device.MemorySize;

    /// <summary>Multiprocessors, or what the driver counts as such.</summary>
    public int Multiprocessors => Device.NumMultiprocessors;

    /// <summary>The most threads that a group may have.</summary>
    public int ThreadsPerGroup => Device.MaxNumThreadsPerGroup;

    /// <summary>The most bytes of shared memory that a group may have.</summary>
    public int SharedMemoryPerGroup => Device.MaxSharedMemoryPerGroup;

    /// <summary>Of a CUDA device, the major version times ten plus the minor: 90 is compute capability 9.0; else 0.</summary>
    public int ComputeCapability { get; }

    internal Device Device { get; }

    /// <inheritdoc/>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"ilgpu:{Kind.ToString().ToLowerInvariant()} {Name}, {Multiprocessors} multiprocessors, {MemoryBytes >> 20} MiB{(Remark is null ? "" : $", not usable: {Remark}")}");
}
