using ILGPU.Runtime;
using KernelGen.Backends.Ilgpu;
using GemmKernel = System.Action<
    ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, ILGPU.ArrayView<byte>, ILGPU.ArrayView<float>, ILGPU.ArrayView<int>, ILGPU.ArrayView<float>,
    ILGPU.ArrayView<int>, ILGPU.ArrayView<float>, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, KernelGen.IlgpuGemmShape>;
using GemmLauncher = System.Action<
    ILGPU.Runtime.AcceleratorStream, ILGPU.KernelConfig,
    ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, ILGPU.ArrayView<byte>, ILGPU.ArrayView<float>, ILGPU.ArrayView<int>, ILGPU.ArrayView<float>,
    ILGPU.ArrayView<int>, ILGPU.ArrayView<float>, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, KernelGen.IlgpuGemmShape>;
using ListKernel = System.Action<ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, KernelGen.IlgpuRowShape>;
using ListLauncher = System.Action<ILGPU.Runtime.AcceleratorStream, ILGPU.KernelConfig, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, KernelGen.IlgpuRowShape>;
using RowKernel = System.Action<
    ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, ILGPU.ArrayView<float>, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, KernelGen.IlgpuRowShape>;
using RowLauncher = System.Action<
    ILGPU.Runtime.AcceleratorStream, ILGPU.KernelConfig,
    ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, ILGPU.ArrayView<float>, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, ILGPU.ArrayView<int>, KernelGen.IlgpuRowShape>;

namespace KernelGen;

/// <summary>
/// Compiles generated kernels for an accelerator when they are first used; ILGPU keeps and frees the code. The types above are the
/// parameter lists that the generator emits.
/// </summary>
internal sealed class IlgpuKernels(IlgpuAccelerator accelerator)
{
    private readonly Dictionary<string, Delegate> compiled = new(StringComparer.Ordinal);

    /// <summary>Why a device cannot run a variant, or null.</summary>
    public static string? Reject(IlgpuDevice device, IlgpuKernelVariant variant)
    {
        int capability = variant.Instruction switch { IlgpuInstruction.MmaSync => 80, IlgpuInstruction.Dp4a => 61, _ => 0 };
        return device.ComputeCapability < capability ? $"{device} is not {variant.Needs}"
            : device.ThreadsPerGroup < variant.Threads ? $"{device} allows {device.ThreadsPerGroup} threads per group, {variant.Name} needs {variant.Threads}"
            : device.SharedMemoryPerGroup < variant.SharedBytes ? $"{device} allows {device.SharedMemoryPerGroup} bytes of shared memory per group, {variant.Name} needs {variant.SharedBytes}"
            : null;
    }

    public RowLauncher Row(IlgpuKernelVariant variant) =>
        Load<RowLauncher>(variant, limits => accelerator.Accelerator.LoadKernel((RowKernel)variant.Kernel, limits));

    public ListLauncher List(IlgpuKernelVariant variant) =>
        Load<ListLauncher>(variant, limits => accelerator.Accelerator.LoadKernel((ListKernel)variant.Kernel, limits));

    public GemmLauncher Gemm(IlgpuKernelVariant variant) =>
        Load<GemmLauncher>(variant, limits => accelerator.Accelerator.LoadKernel((GemmKernel)variant.Kernel, limits));

    private T Load<T>(IlgpuKernelVariant variant, Func<KernelSpecialization, T> load)
        where T : Delegate
    {
        if (compiled.TryGetValue(variant.Name, out Delegate? known))
        {
            return (T)known;
        }

        try
        {
            // Without a bound on the threads the CUDA compiler leaves registers for 1024 of them.
            T launcher = load(new KernelSpecialization(variant.Threads, variant.GroupsPerMultiprocessor));
            compiled.Add(variant.Name, launcher);
            return launcher;
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            throw new IlgpuException(
                $"{variant.Name} does not compile for {accelerator.Device}. A failed compilation can spoil the ILGPU context: create a new IlgpuContext, and another kernel.", exception);
        }
    }
}
