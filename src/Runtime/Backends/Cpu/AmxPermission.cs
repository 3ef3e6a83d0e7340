using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace KernelGen.Backends.Cpu;

/// <summary>Tile registers are large, so Linux keeps them for a process only once it has asked (since Linux 5.16; Documentation/arch/x86/xstate.rst).</summary>
internal static partial class AmxPermission
{
    private const int ArchPrctl = 158;

    private const int RequestPermission = 0x1023;

    private const int TileData = 18;

    /// <summary>CPUID leaf 7, EDX: AMX-TILE and AMX-INT8.</summary>
    private const int TileInt8 = (1 << 24) | (1 << 25);

    private static readonly Lazy<bool> _isGranted = new(Ask);

    /// <summary>Whether the processor has tiles and the system lets this process use them.</summary>
    public static bool IsGranted => _isGranted.Value;

    private static bool Ask() =>
        OperatingSystem.IsLinux()
        && RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.X64
        && X86Base.CpuId(0, 0).Eax >= 7
        && (X86Base.CpuId(7, 0).Edx & TileInt8) == TileInt8
        && syscall(ArchPrctl, RequestPermission, TileData) == 0;

    [LibraryImport("libc")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint syscall(nint number, nint first, nint second);
}
