using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace KernelGen;

/// <summary>
/// ILGPU with the settings that the generated kernels need, and the devices that it finds. Dispose it after the accelerators that it opened.
/// </summary>
/// <remarks>A kernel that does not compile can leave an ILGPU context unusable: after an <see cref="IlgpuException"/> create a new one.</remarks>
public sealed class IlgpuContext : IDisposable
{
    private readonly Context context;

    static IlgpuContext()
    {
        // ILGPU imports the CUDA driver as "cuda" and OpenCL as "OpenCL"; without development packages there are only libcuda.so.1 and libOpenCL.so.1.
        try
        {
            NativeLibrary.SetDllImportResolver(typeof(Context).Assembly, static (name, assembly, path) =>
                OperatingSystem.IsLinux() && name is "cuda" or "OpenCL"
                    && !NativeLibrary.TryLoad(name, assembly, path, out nint found)
                    && NativeLibrary.TryLoad($"lib{name}.so.1", assembly, path, out found)
                    ? found
                    : 0);
        }
        catch (InvalidOperationException)
        {
            // The program has a resolver of its own for ILGPU.
        }
    }

    /// <summary>Starts ILGPU and looks for devices.</summary>
    /// <exception cref="IlgpuException">A driver fails to describe its devices.</exception>
    public IlgpuContext()
    {
        try
        {
            context = Context.Create(static builder => builder
                .Optimize(OptimizationLevel.O2)
                .Profiling()
                .CPU(CPUDeviceKind.Nvidia)
                .OpenCL(static _ => true)
                .Cuda());
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            throw new IlgpuException("ILGPU cannot start.", exception);
        }

        Devices = [.. context.Devices.Select(device => new IlgpuDevice(device)).OrderByDescending(device => device.Kind)];
    }

    /// <summary>The devices: those of CUDA first, then OpenCL's, the accelerator on this processor last. It is always there.</summary>
    public IReadOnlyList<IlgpuDevice> Devices { get; }

    /// <summary>The first device that can be used.</summary>
    public IlgpuDevice Best => Devices.First(static device => device.Remark is null);

    /// <summary>Opens a device.</summary>
    /// <param name="device">One of <see cref="Devices"/>.</param>
    /// <returns>The accelerator; dispose it before the context.</returns>
    /// <exception cref="ArgumentException">The device is of another context.</exception>
    /// <exception cref="IlgpuException">The device cannot be used.</exception>
    public IlgpuAccelerator Open(IlgpuDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (!Devices.Contains(device))
        {
            throw new ArgumentException($"{device} is a device of another context; take one of Devices.", nameof(device));
        }

        try
        {
            return new IlgpuAccelerator(device, device.Device.CreateAccelerator(context));
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            throw new IlgpuException($"{device} cannot be opened; use another device.", exception);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => context.Dispose();
}
