using System.ComponentModel;
using System.Globalization;

namespace KernelGen.Backends.Cuda;

/// <summary>The PTX text of a kernel, in the assembly's data.</summary>
/// <returns>UTF-8, without a terminating zero.</returns>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate ReadOnlySpan<byte> CudaPtx();

/// <summary>A generated CUDA kernel with what it needs. Created by generated code.</summary>
/// <param name="Name">The computed kernel name, also its entry point.</param>
/// <param name="Role">What it does.</param>
/// <param name="Capability">The lowest compute capability, times ten.</param>
/// <param name="ArchitectureSpecific">Whether it runs on exactly that capability (the "a" of sm_90a), not on later ones.</param>
/// <param name="Format">The type of its input (quantization) or output (GEMM).</param>
/// <param name="BlockM">Rows of A per tile; 0 where it has none. Of a kernel that quantizes its single row the longest one.</param>
/// <param name="BlockN">Output features per tile; of a quantization kernel that keeps aligned 16-bit rows in registers the longest row, else 0.</param>
/// <param name="Alternating">Whether two groups of warps take alternate tiles, one finishing while the other multiplies.</param>
/// <param name="Threads">Threads per block; 0 where the launch decides.</param>
/// <param name="SharedBytes">Dynamic shared memory per block, in bytes; 0 where the launch decides. Of a kernel that quantizes its single row without the row.</param>
/// <param name="Ptx">Its text.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record CudaKernelVariant(
    string Name,
    CudaKernelRole Role,
    int Capability,
    bool ArchitectureSpecific,
    ElementFormat Format,
    int BlockM,
    int BlockN,
    bool Alternating,
    int Threads,
    int SharedBytes,
    CudaPtx Ptx)
{
    /// <summary>The oldest CUDA version whose driver compiles the text of kernels for a single architecture: PTX ISA 8.1.</summary>
    private const int OldestDriver = 12010;

    /// <summary>What the device must have, in words.</summary>
    public string Needs => string.Create(
        CultureInfo.InvariantCulture,
        $"compute capability {Capability / 10}.{Capability % 10}{(ArchitectureSpecific ? "" : " or later")}{(SharedBytes > 0 ? $", {SharedBytes} bytes of shared memory" : "")}");

    /// <summary>Whether it multiplies quantized rows.</summary>
    internal bool IsGemm => Role is CudaKernelRole.WgmmaGemm or CudaKernelRole.StreamGemm or CudaKernelRole.MmaGemm or CudaKernelRole.Dp4aGemm;

    /// <summary>Whether it can multiply so many rows.</summary>
    internal bool Takes(int rows) => Role switch
    {
        CudaKernelRole.StreamGemm => rows <= BlockM,
        CudaKernelRole.RowGemm or CudaKernelRole.NormedRowGemm => rows == 1,
        _ => true,
    };

    /// <summary>Why the device cannot run it, or null.</summary>
    internal string? Reject(CudaDevice device) => ArchitectureSpecific && device.DriverVersion < OldestDriver
        ? string.Create(
            CultureInfo.InvariantCulture,
            $"{device.Name}'s driver is of CUDA {device.DriverVersion / 1000}.{device.DriverVersion % 1000 / 10}, {Name} needs one of CUDA {OldestDriver / 1000}.{OldestDriver % 1000 / 10} or later: update it")
        : device.ComputeCapability < Capability || (ArchitectureSpecific && device.ComputeCapability != Capability)
            ? $"{device.Name} has compute capability {device.ComputeCapability / 10}.{device.ComputeCapability % 10}, {Name} needs {Needs}"
            : device.SharedMemoryPerBlock < SharedBytes
                ? $"{device.Name} allows {device.SharedMemoryPerBlock} bytes of shared memory per block, {Name} needs {SharedBytes}"
                : null;
}
