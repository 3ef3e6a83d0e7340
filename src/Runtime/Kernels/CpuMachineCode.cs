using System.ComponentModel;
using System.Runtime.CompilerServices;
using KernelGen.Backends.Cpu;

namespace KernelGen.Kernels;

/// <summary>The bytes of a kernel that the generator assembled.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public delegate ReadOnlySpan<byte> CpuCode();

/// <summary>Makes kernels of machine code, for instructions that .NET has no class for.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe class CpuMachineCode
{
    /// <summary>A microkernel. Its code is loaded when it is first called.</summary>
    /// <param name="code">The code: a function of one pointer, to <see cref="CpuGemm"/>'s arguments in their order, eight bytes each, that both calling conventions can enter.</param>
    public static CpuGemm Gemm(CpuCode code)
    {
        ArgumentNullException.ThrowIfNull(code);
        return new Kernel(code, hasTiles: false).Multiply;
    }

    /// <summary>A microkernel that multiplies by tile registers.</summary>
    /// <param name="code">Likewise, with two more arguments: the tiles' configuration and the bytes of a row that a step takes.</param>
    public static CpuGemm TileGemm(CpuCode code)
    {
        ArgumentNullException.ThrowIfNull(code);
        return new Kernel(code, hasTiles: true).Multiply;
    }

    private sealed class Kernel(CpuCode code, bool hasTiles)
    {
        private readonly Lazy<nint> _entry = new(() => ExecutableMemory.LoadFunction(code()));

        /// <exception cref="PlatformNotSupportedException">The system refuses executable memory.</exception>
        public void Multiply(ref byte a, nint aStride, ref byte panel, nint kGroups, ref int start, nint startStride, ref int c, nint cStride)
        {
            fixed (byte* aPointer = &a, panelPointer = &panel)
            {
                fixed (int* startPointer = &start, cPointer = &c)
                {
                    CpuGemmArguments arguments = new()
                    {
                        A = (ulong)aPointer,
                        AStride = aStride,
                        Panel = (ulong)panelPointer,
                        KGroups = kGroups,
                        Start = (ulong)startPointer,
                        StartStride = startStride,
                        C = (ulong)cPointer,
                        CStride = cStride,
                    };
                    if (hasTiles)
                    {
                        int groups = TileConfigurations.GroupsOf(kGroups);
                        arguments.TileConfiguration = (ulong)TileConfigurations.OfStep(groups);
                        arguments.StepBytes = groups * CpuTarget.Of(CpuInstructionSet.Amx).K;
                    }

                    ((delegate* unmanaged<CpuGemmArguments*, void>)_entry.Value)(&arguments);
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

        private static readonly byte[] _all = Create();

        /// <summary>The groups of a step: all steps are of one size, since tiles of another would need another configuration, which clears the sums.</summary>
        public static int GroupsOf(nint kGroups)
        {
            int groups = MostGroups;
            while (kGroups % groups != 0)
            {
                groups--;
            }

            return groups;
        }

        public static byte* OfStep(int groups) => (byte*)Unsafe.AsPointer(ref _all[groups * Size]);

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
                    // Sums, then rows of activations, then weights.
                    bool isActivations = tile is >= CpuGemmArguments.FirstActivationTile and < CpuGemmArguments.FirstWeightTile;
                    configuration[16 + (2 * tile)] = (byte)(isActivations ? 4 * groups : 64);
                    configuration[48 + tile] = (byte)(tile >= CpuGemmArguments.FirstWeightTile ? groups : CpuTarget.TileRows);
                }
            }

            return all;
        }
    }
}
