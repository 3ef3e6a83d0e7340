using KernelGen.Kernels.Ilgpu;
using Xunit;

namespace KernelGen.Ilgpu.Tests;

/// <summary>Every generated kernel against the oracle, on every kind of accelerator that is here.</summary>
public sealed class KernelSuiteTests
{
    [SkippableTheory]
    [InlineData(IlgpuDeviceKind.Cpu)]
    [InlineData(IlgpuDeviceKind.OpenCL)]
    [InlineData(IlgpuDeviceKind.Cuda)]
    public void Every_kernel_agrees_with_the_oracle(IlgpuDeviceKind kind)
    {
        using IlgpuContext context = new();
        IlgpuDevice[] devices = [.. context.Devices.Where(device => device.Kind == kind)];
        IlgpuDevice? usable = devices.FirstOrDefault(device => device.Remark is null);
        Skip.If(usable is null, devices.Length == 0 ? $"ILGPU finds no {kind} device." : devices[0].ToString());

        using IlgpuAccelerator accelerator = context.Open(usable!);
        using StringWriter log = new();
        IlgpuSuite suite = new(accelerator, log);
        suite.Run();
        Assert.True(suite.Failures.Count == 0, string.Join(Environment.NewLine, suite.Failures.Take(20)) + Environment.NewLine + log);

        // Three sums of kernels: the tile, one row, eight rows; on CUDA with dp4a as well, and mma.sync.
        int gemms = IlgpuSpecs.All.SelectMany(set => set.IlgpuVariants)
            .Where(variant => variant.Role is IlgpuKernelRole.TileGemm or IlgpuKernelRole.FewRowGemm && IlgpuKernels.Reject(usable!, variant) is null)
            .Select(variant => variant.Name).Distinct().Count();
        Assert.Equal(gemms, suite.Compared.Count);
    }
}
