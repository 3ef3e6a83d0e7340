using KernelGen.Kernels.Gpu;
using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>The CUDA kernels: on a machine with a GPU the whole suite, everywhere that what is emitted has passed it.</summary>
public sealed class CudaKernelTests
{
    [SkippableFact]
    public void Every_kernel_agrees_with_the_oracle()
    {
        Skip.If(CudaDevice.Unavailable is not null, CudaDevice.Unavailable);
        using StringWriter log = new();
        using CudaSuite suite = new(CudaDevice.All[0], log);
        suite.Run();
        Assert.True(suite.Failures.Count == 0, string.Join(Environment.NewLine, suite.Failures.Take(20)) + Environment.NewLine + log);
    }

    [Fact]
    public void Every_emitted_kernel_has_passed_the_suite_on_a_gpu()
    {
        HashSet<string> proven = ProofList.Read(Path.Combine(AppContext.BaseDirectory, ProofList.FileName));
        string[] unproven = [.. ProofList.Emitted().Where(kernel => !proven.Contains(kernel.Value)).Select(kernel => kernel.Key)];
        Assert.True(
            unproven.Length == 0,
            $"{unproven.Length} kernels are not on the list of proven ones, e.g. {unproven.FirstOrDefault()}; on a machine with a GPU run "
            + $"'dotnet run --project tests/Kernels.Gpu -c Release -- prove tests/Kernels.Gpu/{ProofList.FileName}' and commit the list.");
    }

    [Fact]
    public void A_machine_without_a_driver_says_so()
    {
        Assert.True(CudaDevice.Unavailable is null ? CudaDevice.All.Count > 0 : CudaDevice.All.Count == 0 && CudaDevice.Unavailable.Length > 10);
    }
}
