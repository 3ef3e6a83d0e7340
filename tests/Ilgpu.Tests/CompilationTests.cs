using ILGPU;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using KernelGen.Backends.Ilgpu;
using KernelGen.Kernels.Ilgpu;
using Xunit;

namespace KernelGen.Ilgpu.Tests;

/// <summary>ILGPU compiles every kernel for CUDA, on a machine without a GPU too: its compiler needs no device.</summary>
public sealed class CompilationTests
{
    public static TheoryData<string, string> Kernels()
    {
        TheoryData<string, string> data = [];
        foreach (Int8KernelSet set in IlgpuSpecs.All)
        {
            foreach (IlgpuKernelVariant variant in set.IlgpuVariants)
            {
                data.Add(set.Name, variant.Name);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void A_kernel_compiles_for_CUDA(string set, string name)
    {
        IlgpuKernelVariant variant = IlgpuSpecs.All.Single(candidate => candidate.Name == set).IlgpuVariants.Single(candidate => candidate.Name == name);
        using Context context = Context.Create(static builder => builder.Optimize(OptimizationLevel.O2));
        using PTXBackend backend = new(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_70, null!);
        string ptx = Assert.IsType<PTXCompiledKernel>(backend.Compile(
            EntryPointDescription.FromExplicitlyGroupedKernel(variant.Kernel.Method),
            new KernelSpecialization(variant.Threads, variant.GroupsPerMultiprocessor))).PTXAssembly;
        Assert.Contains($".maxntid {variant.Threads}, 1, 1", ptx, StringComparison.Ordinal);
        Assert.Equal(variant.Instruction == IlgpuInstruction.MmaSync, ptx.Contains("mma.sync.aligned.m16n8k32", StringComparison.Ordinal));
        Assert.Equal(variant.Instruction == IlgpuInstruction.Dp4a, ptx.Contains("dp4a.s32.s32", StringComparison.Ordinal));

        // Every kernel that rounds does so by an instruction that nothing merges with another.
        bool rounds = variant.Role is IlgpuKernelRole.Quantize or IlgpuKernelRole.TileGemm or IlgpuKernelRole.FewRowGemm;
        Assert.Equal(rounds, ptx.Contains("mul.rn.f32", StringComparison.Ordinal) || ptx.Contains("cvt.rni.s32.f32", StringComparison.Ordinal));
    }
}
