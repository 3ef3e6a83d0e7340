using System.ComponentModel;

namespace KernelGen.Backends.Ilgpu;

/// <summary>
/// A generated ILGPU kernel with what it needs. Created by generated code. This assembly does not know ILGPU: the kernel is a delegate to a
/// static method whose parameters are ILGPU's types, which KernelGen.Runtime.Ilgpu compiles for an accelerator.
/// </summary>
/// <param name="Name">The computed kernel name.</param>
/// <param name="Role">What it does.</param>
/// <param name="Instruction">How it multiplies; decides where it runs.</param>
/// <param name="BlockM">Rows of A per tile; 0 where it has none.</param>
/// <param name="BlockN">Output features per tile; 0 where it has none.</param>
/// <param name="Threads">Threads per group.</param>
/// <param name="GroupsPerMultiprocessor">Groups that must fit a multiprocessor at once, which bounds the registers of a thread.</param>
/// <param name="SharedBytes">Shared memory per group, in bytes.</param>
/// <param name="Kernel">The method.</param>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed record IlgpuKernelVariant(
    string Name,
    IlgpuKernelRole Role,
    IlgpuInstruction Instruction,
    int BlockM,
    int BlockN,
    int Threads,
    int GroupsPerMultiprocessor,
    int SharedBytes,
    Delegate Kernel)
{
    /// <summary>What the accelerator must be, in words.</summary>
    public string Needs => Instruction switch
    {
        IlgpuInstruction.MmaSync => "an ILGPU CUDA accelerator, compute capability 8.0 or later",
        IlgpuInstruction.Dp4a => "an ILGPU CUDA accelerator, compute capability 6.1 or later",
        _ => "any ILGPU accelerator",
    };
}
