using System.ComponentModel;
using KernelGen.Backends.Cpu;

namespace KernelGen.Kernels;

/// <summary>The bytes of a kernel that the generator assembled.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate ReadOnlySpan<byte> CpuCode();

/// <summary>Makes kernels of machine code, for instructions that .NET has no class for.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class CpuMachineCode
{
    /// <summary>Bytes of the first instruction, which moves System V's first argument to the register where Windows has it: Windows enters behind it.</summary>
    private const int SystemVEntry = 3;

    /// <summary>A microkernel. Its code is loaded when it is first called.</summary>
    /// <param name="code">The code: a function of one pointer, to <see cref="CpuGemm"/>'s arguments in their order, eight bytes each.</param>
    public static CpuGemm Gemm(CpuCode code)
    {
        ArgumentNullException.ThrowIfNull(code);
        return new GemmKernel(code).Multiply;
    }

    /// <summary>A microkernel that multiplies by tile registers.</summary>
    /// <param name="code">Likewise, with two more arguments: the tiles' configuration and the bytes of a row that a step takes.</param>
    public static CpuGemm TileGemm(CpuCode code)
    {
        ArgumentNullException.ThrowIfNull(code);
        return new TileGemmKernel(code).Multiply;
    }

    private struct Arguments
    {
        public byte* A;
        public nint AStride;
        public byte* Panel;
        public nint KGroups;
        public int* C;
        public nint CStride;
        public byte* TileConfiguration;
        public nint StepBytes;
    }

    private sealed class GemmKernel(CpuCode code)
    {
        private readonly LoadedCode _code = new(code);

        /// <exception cref="PlatformNotSupportedException">The system refuses executable memory.</exception>
        public void Multiply(ref byte a, nint aStride, ref byte panel, nint kGroups, ref int c, nint cStride)
        {
            fixed (byte* aPointer = &a, panelPointer = &panel)
            {
                fixed (int* cPointer = &c)
                {
                    Arguments arguments = new() { A = aPointer, AStride = aStride, Panel = panelPointer, KGroups = kGroups, C = cPointer, CStride = cStride };
                    _code.Entry(&arguments);
                }
            }
        }
    }

    private sealed class TileGemmKernel(CpuCode code)
    {
        private readonly LoadedCode _code = new(code);

        /// <exception cref="PlatformNotSupportedException">The system refuses executable memory.</exception>
        public void Multiply(ref byte a, nint aStride, ref byte panel, nint kGroups, ref int c, nint cStride)
        {
            // All steps are of one size, since tiles of another would need another configuration, which clears the sums.
            int step = TileConfigurations.MostGroups;
            while (kGroups % step != 0)
            {
                step--;
            }

            fixed (byte* aPointer = &a, panelPointer = &panel)
            {
                fixed (int* cPointer = &c)
                {
                    Arguments arguments = new()
                    {
                        A = aPointer,
                        AStride = aStride,
                        Panel = panelPointer,
                        KGroups = kGroups,
                        C = cPointer,
                        CStride = cStride,
                        TileConfiguration = TileConfigurations.OfStep(step),
                        StepBytes = step * 4,
                    };
                    _code.Entry(&arguments);
                }
            }
        }
    }

    /// <summary>How tiles are shaped, for every size of a step: the 64 bytes that <c>ldtilecfg</c> reads, palette 1.</summary>
    internal static class TileConfigurations
    {
        /// <summary>K groups that fill a row of a tile.</summary>
        public const int MostGroups = 16;

        private const int Size = 64;

        private const int Sums = 4;

        private static readonly byte[] _all = Create();

        public static byte* OfStep(int groups) => (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref _all[groups * Size]);

        private static byte[] Create()
        {
            byte[] all = GC.AllocateUninitializedArray<byte>((MostGroups + 1) * Size, pinned: true);
            Array.Clear(all);
            for (int groups = 1; groups <= MostGroups; groups++)
            {
                Span<byte> configuration = all.AsSpan(groups * Size, Size);
                configuration[0] = 1;
                for (int tile = 0; tile < CpuTarget.Of(CpuInstructionSet.Amx).Tiles; tile++)
                {
                    // Tiles 0 to 3 are sums, 4 and 5 rows of activations, 6 and 7 weights, as the generator has it.
                    configuration[16 + (2 * tile)] = (byte)(tile is 4 or 5 ? 4 * groups : 64);
                    configuration[48 + tile] = (byte)(tile >= 6 ? groups : CpuTarget.TileRows);
                }
            }

            return all;
        }
    }

    /// <summary>Code that is loaded when it is first wanted.</summary>
    private sealed class LoadedCode(CpuCode code)
    {
        private readonly Lock _loading = new();

        private delegate* unmanaged<Arguments*, void> _entry;

        /// <exception cref="PlatformNotSupportedException">The system refuses executable memory.</exception>
        public delegate* unmanaged<Arguments*, void> Entry => _entry is not null ? _entry : Load();

        private delegate* unmanaged<Arguments*, void> Load()
        {
            lock (_loading)
            {
                if (_entry is null)
                {
                    nint address = ExecutableMemory.Load(code());
                    _entry = (delegate* unmanaged<Arguments*, void>)(OperatingSystem.IsWindows() ? address + SystemVEntry : address);
                }

                return _entry;
            }
        }
    }
}
