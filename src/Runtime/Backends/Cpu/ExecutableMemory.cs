using System.ComponentModel;
using System.Runtime.InteropServices;

namespace KernelGen.Backends.Cpu;

/// <summary>
/// Memory for generated machine code: written first, then made executable and no longer writable. It is never given back, as kernels are static.
/// </summary>
internal static unsafe partial class ExecutableMemory
{
    private const byte Return = 0xC3;

    private static readonly Lazy<bool> _isAvailable = new(Probe);

    /// <summary>Whether this process may run code that it has written: a hardened system can forbid it.</summary>
    public static bool IsAvailable => _isAvailable.Value;

    /// <summary>Copies code to where it can run.</summary>
    /// <exception cref="PlatformNotSupportedException">The system is neither Linux nor Windows, or refuses the memory.</exception>
    public static nint Load(ReadOnlySpan<byte> code)
    {
        nuint size = ((nuint)code.Length + (nuint)Environment.SystemPageSize - 1) / (nuint)Environment.SystemPageSize * (nuint)Environment.SystemPageSize;
        nint address = OperatingSystem.IsLinux() ? Linux.Allocate(size) : OperatingSystem.IsWindows() ? Windows.Allocate(size) : 0;
        if (address == 0)
        {
            throw Refused();
        }

        code.CopyTo(new Span<byte>((void*)address, code.Length));
        if (!(OperatingSystem.IsLinux() ? Linux.MakeExecutable(address, size) : Windows.MakeExecutable(address, size)))
        {
            throw Refused();
        }

        return address;
    }

    /// <summary>Copies a function of one argument for both calling conventions, and says where this system enters it.</summary>
    /// <inheritdoc cref="Load"/>
    public static nint LoadFunction(ReadOnlySpan<byte> code) => Load(code) + (OperatingSystem.IsWindows() ? CpuGemmArguments.SystemVEntryBytes : 0);

    private static bool Probe()
    {
        if (RuntimeInformation.ProcessArchitecture != System.Runtime.InteropServices.Architecture.X64)
        {
            return false;
        }

        try
        {
            ((delegate* unmanaged<void>)Load([Return]))();
            return true;
        }
        catch (PlatformNotSupportedException)
        {
            return false;
        }
    }

    private static PlatformNotSupportedException Refused() => new(
        $"The system does not let this process map executable memory ({(OperatingSystem.IsLinux() || OperatingSystem.IsWindows() ? new Win32Exception(Marshal.GetLastPInvokeError()).Message : "neither Linux nor Windows")}): use kernels that are not machine code.");

    private static partial class Linux
    {
        private const int Readable = 1;

        private const int Writable = 2;

        private const int Executable = 4;

        private const int PrivateAnonymous = 0x22;

        public static nint Allocate(nuint size)
        {
            nint address = mmap(0, size, Readable | Writable, PrivateAnonymous, -1, 0);
            return address == -1 ? 0 : address;
        }

        public static bool MakeExecutable(nint address, nuint size) => mprotect(address, size, Readable | Executable) == 0;

        [LibraryImport("libc", SetLastError = true)]
        [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
        private static partial nint mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

        [LibraryImport("libc", SetLastError = true)]
        [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
        private static partial int mprotect(nint address, nuint length, int protection);
    }

    private static partial class Windows
    {
        private const uint Commit = 0x1000;

        private const uint Reserve = 0x2000;

        private const uint ReadWrite = 0x04;

        private const uint ExecuteRead = 0x20;

        public static nint Allocate(nuint size) => VirtualAlloc(0, size, Commit | Reserve, ReadWrite);

        public static bool MakeExecutable(nint address, nuint size) => VirtualProtect(address, size, ExecuteRead, out _) != 0;

        [LibraryImport("kernel32", SetLastError = true)]
        [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
        private static partial nint VirtualAlloc(nint address, nuint size, uint type, uint protection);

        [LibraryImport("kernel32", SetLastError = true)]
        [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
        private static partial int VirtualProtect(nint address, nuint size, uint protection, out uint before);
    }
}
