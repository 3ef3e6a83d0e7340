using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KernelGen.Backends.Cuda;

/// <summary>
/// The part of the CUDA driver API that the back end uses, by its versioned entry points. The library is nvcuda.dll on Windows and
/// libcuda.so.1 on Linux, both installed with the display driver; there is no toolkit to install.
/// </summary>
internal static unsafe partial class CudaDriver
{
    private const string Library = "kernelgen-cuda-driver";

    private static readonly Lazy<string?> Initialization = new(Initialize);

    static CudaDriver() => NativeLibrary.SetDllImportResolver(typeof(CudaDriver).Assembly, Resolve);

    /// <summary>Why no CUDA device can be used here, or null where the driver is up.</summary>
    public static string? Unavailable => Initialization.Value;

    /// <summary>Throws unless the call succeeded.</summary>
    public static void Check(int code, [CallerArgumentExpression(nameof(code))] string call = "")
    {
        if (code != 0)
        {
            throw new CudaException(CallName(call), code, Describe(code));
        }
    }

    /// <summary>A code's name and text, as the driver words them.</summary>
    public static string Describe(int code)
    {
        string name = cuGetErrorName(code, out nint namePointer) == 0 ? Marshal.PtrToStringUTF8(namePointer) ?? "" : "unknown";
        string text = cuGetErrorString(code, out nint textPointer) == 0 ? Marshal.PtrToStringUTF8(textPointer) ?? "" : "";
        return text.Length > 0 ? $"{name}, {text}" : name;
    }

    private static string CallName(string expression)
    {
        int parenthesis = expression.IndexOf('(', StringComparison.Ordinal);
        string name = parenthesis < 0 ? expression : expression[..parenthesis];
        return name[(name.LastIndexOf('.') + 1)..];
    }

    private static string? Initialize()
    {
        try
        {
            int code = cuInit(0);
            return code == 0 ? null : $"The CUDA driver is installed but does not start: cuInit returned {code} ({Describe(code)}).";
        }
        catch (DllNotFoundException)
        {
            return $"The NVIDIA driver library {LibraryFile} is not installed.";
        }
        catch (EntryPointNotFoundException exception)
        {
            return $"The NVIDIA driver is too old for KernelGen: {exception.Message}";
        }
    }

    private static string LibraryFile => OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path)
    {
        if (name != Library)
        {
            return 0;
        }

        return NativeLibrary.TryLoad(LibraryFile, out nint handle) ? handle : throw new DllNotFoundException(LibraryFile);
    }

    [LibraryImport(Library)]
    internal static partial int cuInit(uint flags);

    [LibraryImport(Library)]
    internal static partial int cuDriverGetVersion(out int version);

    [LibraryImport(Library)]
    internal static partial int cuGetErrorName(int code, out nint text);

    [LibraryImport(Library)]
    internal static partial int cuGetErrorString(int code, out nint text);

    [LibraryImport(Library)]
    internal static partial int cuDeviceGetCount(out int count);

    [LibraryImport(Library)]
    internal static partial int cuDeviceGet(out int device, int ordinal);

    [LibraryImport(Library)]
    internal static partial int cuDeviceGetName(byte* name, int length, int device);

    [LibraryImport(Library)]
    internal static partial int cuDeviceGetUuid_v2(byte* uuid, int device);

    [LibraryImport(Library)]
    internal static partial int cuDeviceTotalMem_v2(out nuint bytes, int device);

    [LibraryImport(Library)]
    internal static partial int cuDeviceGetAttribute(out int value, int attribute, int device);

    [LibraryImport(Library)]
    internal static partial int cuDeviceGetDefaultMemPool(out nint pool, int device);

    [LibraryImport(Library)]
    internal static partial int cuMemPoolSetAttribute(nint pool, int attribute, ulong* value);

    [LibraryImport(Library)]
    internal static partial int cuDevicePrimaryCtxRetain(out nint context, int device);

    [LibraryImport(Library)]
    internal static partial int cuDevicePrimaryCtxRelease_v2(int device);

    [LibraryImport(Library)]
    internal static partial int cuCtxCreate_v2(out nint context, uint flags, int device);

    [LibraryImport(Library)]
    internal static partial int cuCtxDestroy_v2(nint context);

    [LibraryImport(Library)]
    internal static partial int cuCtxEnablePeerAccess(nint peer, uint flags);

    [LibraryImport(Library)]
    internal static partial int cuDeviceCanAccessPeer(out int able, int device, int peer);

    [LibraryImport(Library)]
    internal static partial int cuMemcpyPeerAsync(ulong destination, nint destinationContext, ulong source, nint sourceContext, nuint bytes, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuCtxSetCurrent(nint context);

    [LibraryImport(Library)]
    internal static partial int cuCtxSynchronize();

    [LibraryImport(Library)]
    internal static partial int cuMemGetInfo_v2(out nuint free, out nuint total);

    [LibraryImport(Library)]
    internal static partial int cuMemAlloc_v2(out ulong address, nuint bytes);

    [LibraryImport(Library)]
    internal static partial int cuMemFree_v2(ulong address);

    [LibraryImport(Library)]
    internal static partial int cuMemAllocAsync(out ulong address, nuint bytes, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuMemFreeAsync(ulong address, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuMemHostAlloc(out nint address, nuint bytes, uint flags);

    [LibraryImport(Library)]
    internal static partial int cuMemFreeHost(nint address);

    [LibraryImport(Library)]
    internal static partial int cuMemcpyHtoDAsync_v2(ulong destination, void* source, nuint bytes, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuMemcpyDtoHAsync_v2(void* destination, ulong source, nuint bytes, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuMemcpyDtoDAsync_v2(ulong destination, ulong source, nuint bytes, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuMemsetD8Async(ulong address, byte value, nuint bytes, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuStreamCreate(out nint stream, uint flags);

    [LibraryImport(Library)]
    internal static partial int cuStreamDestroy_v2(nint stream);

    [LibraryImport(Library)]
    internal static partial int cuStreamSynchronize(nint stream);

    [LibraryImport(Library)]
    internal static partial int cuStreamWaitEvent(nint stream, nint @event, uint flags);

    [LibraryImport(Library)]
    internal static partial int cuStreamIsCapturing(nint stream, out int status);

    [LibraryImport(Library)]
    internal static partial int cuStreamBeginCapture_v2(nint stream, int mode);

    [LibraryImport(Library)]
    internal static partial int cuStreamEndCapture(nint stream, out nint graph);

    [LibraryImport(Library)]
    internal static partial int cuGraphInstantiateWithFlags(out nint executable, nint graph, ulong flags);

    [LibraryImport(Library)]
    internal static partial int cuGraphLaunch(nint executable, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuGraphExecDestroy(nint executable);

    [LibraryImport(Library)]
    internal static partial int cuGraphDestroy(nint graph);

    [LibraryImport(Library)]
    internal static partial int cuEventCreate(out nint @event, uint flags);

    [LibraryImport(Library)]
    internal static partial int cuEventRecord(nint @event, nint stream);

    [LibraryImport(Library)]
    internal static partial int cuEventSynchronize(nint @event);

    [LibraryImport(Library)]
    internal static partial int cuEventElapsedTime(out float milliseconds, nint start, nint end);

    [LibraryImport(Library)]
    internal static partial int cuEventDestroy_v2(nint @event);

    [LibraryImport(Library)]
    internal static partial int cuModuleLoadDataEx(out nint module, byte* image, uint count, int* options, void** values);

    [LibraryImport(Library)]
    internal static partial int cuModuleUnload(nint module);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int cuModuleGetFunction(out nint function, nint module, string name);

    [LibraryImport(Library)]
    internal static partial int cuFuncSetAttribute(nint function, int attribute, int value);

    [LibraryImport(Library)]
    internal static partial int cuFuncGetAttribute(out int value, int attribute, nint function);

    [LibraryImport(Library)]
    internal static partial int cuLaunchKernelEx(LaunchConfiguration* configuration, nint function, void** parameters, void** extra);

    [LibraryImport(Library)]
    internal static partial int cuTensorMapEncodeTiled(
        void* map, int dataType, uint rank, ulong address, ulong* sizes, ulong* strides, uint* box, uint* elementStrides, int interleave, int swizzle, int l2Promotion, int fill);

    /// <summary>CUlaunchConfig.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct LaunchConfiguration
    {
        public uint GridX, GridY, GridZ, BlockX, BlockY, BlockZ, SharedBytes;
        public nint Stream;
        public LaunchAttribute* Attributes;
        public uint AttributeCount;
    }

    /// <summary>CUlaunchAttribute: an id, padding to eight bytes, a union of 64 bytes.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 72)]
    internal struct LaunchAttribute
    {
        /// <summary>CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: the kernel may start before the one ahead of it has ended.</summary>
        public const int ProgrammaticStreamSerialization = 6;

        /// <summary>CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION: blocks of a cluster in x, y and z.</summary>
        public const int ClusterDimension = 4;

        [FieldOffset(0)]
        public int Id;

        [FieldOffset(8)]
        public int Value;

        [FieldOffset(12)]
        public int Y;

        [FieldOffset(16)]
        public int Z;
    }
}
