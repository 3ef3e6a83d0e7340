using System.Runtime.InteropServices;

namespace KernelGen.Generator.Emit.Cpu.X64;

/// <summary>
/// The microkernel of an MR x NR tile in machine code, for instructions that .NET has no class for: <c>vpdpbusd</c> on 512-bit vectors. It reads the
/// panels and activations of the 256-bit kernels. One pointer to its arguments is all it is called with, it uses no stack and only registers that both calling
/// conventions leave to it (zmm0 to zmm5 and zmm16 to zmm31), so that one text serves all systems: its first instruction moves System V's first
/// argument to where Windows has it, and Windows enters behind it.
/// </summary>
internal static class X64GemmCode
{
    private const int Lanes = 16;

    private const int VectorBytes = 64;

    private const int CacheLine = 64;

    /// <summary>K groups a round; panels are padded to it.</summary>
    private const int GroupsPerRound = KernelLimits.KGroupMultiple;

    private const int GroupBytes = 4;

    private const int ArgumentsMask = 1;

    /// <summary>An argument, where a register points to them.</summary>
    public static X64Address Argument(Gpr arguments, string field) =>
        new(arguments, Displacement: (int)Marshal.OffsetOf<CpuGemmArguments>(field));

    /// <summary>The vector registers in the order in which they are taken: 16 to 31, then 0 to 5.</summary>
    private static int Vector(int index) => index < 16 ? 16 + index : index - 16;

    /// <summary>Up to nine rows of activations: each of three base registers reaches three, by a stride that is added not at all, once or twice.</summary>
    public static X64Assembler Assemble(CpuTile tile, int registers)
    {
        int vectors = tile.N / Lanes, sums = tile.M * vectors;

        // Two sums per result hide the instruction's latency in low tiles.
        int sets = (2 * sums) + vectors + 1 <= registers ? 2 : 1;
        int Sum(int set, int row, int vector) => Vector((set * sums) + (row * vectors) + vector);
        int Weights(int vector) => Vector((sets * sums) + vector);
        int broadcast = Vector((sets * sums) + vectors);
        Gpr[] bases = [Gpr.rax, Gpr.r10, Gpr.r11];
        int panelStep = vectors * VectorBytes;
        X64Address Row(int row, int offset) =>
            (row % 3) switch
            {
                0 => new X64Address(bases[row / 3], Displacement: offset),
                1 => new X64Address(bases[row / 3], Gpr.rdx, 1, offset),
                _ => new X64Address(bases[row / 3], Gpr.rdx, 2, offset),
            };

        X64Assembler code = new();
        code.Move(Gpr.rcx, Gpr.rdi);
        code.MoveToMask(ArgumentsMask, Gpr.rcx);
        ForSums(code, tile, nameof(CpuGemmArguments.Start), nameof(CpuGemmArguments.StartStride), (i, j, address) =>
        {
            code.LoadVector(Sum(0, i, j), address);
            if (sets == 2)
            {
                code.ClearVector(Sum(1, i, j));
            }
        });
        code.Load(Gpr.rax, Argument(Gpr.rcx, nameof(CpuGemmArguments.A)));
        code.Load(Gpr.rdx, Argument(Gpr.rcx, nameof(CpuGemmArguments.AStride)));
        code.Load(Gpr.r8, Argument(Gpr.rcx, nameof(CpuGemmArguments.Panel)));
        code.Load(Gpr.r9, Argument(Gpr.rcx, nameof(CpuGemmArguments.KGroups)));
        for (int i = 1; 3 * i < tile.M; i++)
        {
            code.LoadAddress(bases[i], new(bases[i - 1], Gpr.rdx, 2));
            code.Add(bases[i], Gpr.rdx);
        }

        // rcx leads to the next panel, whose first use then finds it in the cache; r9 is where the first row ends.
        code.Multiply(Gpr.rcx, Gpr.r9, panelStep);
        code.Add(Gpr.r9, Gpr.r9);
        code.Add(Gpr.r9, Gpr.r9);
        code.Add(Gpr.r9, Gpr.rax);

        // The panel's header.
        code.Add(Gpr.r8, panelStep);
        int loop = code.Length;
        for (int line = 0; line < GroupsPerRound * panelStep; line += CacheLine)
        {
            code.PrefetchSecondLevel(new(Gpr.r8, Gpr.rcx, 1, line));
        }

        for (int group = 0; group < GroupsPerRound; group++)
        {
            for (int j = 0; j < vectors; j++)
            {
                code.LoadVector(Weights(j), new(Gpr.r8, Displacement: (group * panelStep) + (j * VectorBytes)));
            }

            for (int i = 0; i < tile.M; i++)
            {
                code.BroadcastInt32(broadcast, Row(i, group * GroupBytes));
                for (int j = 0; j < vectors; j++)
                {
                    code.MultiplyAddBytes(Sum(group % sets, i, j), broadcast, Weights(j));
                }
            }
        }

        code.Add(Gpr.r8, GroupsPerRound * panelStep);
        for (int i = 0; 3 * i < tile.M; i++)
        {
            code.Add(bases[i], GroupsPerRound * GroupBytes);
        }

        code.Compare(Gpr.rax, Gpr.r9);
        code.JumpIfBelow(loop);

        code.MoveFromMask(Gpr.rcx, ArgumentsMask);
        ForSums(code, tile, nameof(CpuGemmArguments.C), nameof(CpuGemmArguments.CStride), (i, j, address) =>
        {
            if (sets == 2)
            {
                code.AddVectors(Sum(0, i, j), Sum(0, i, j), Sum(1, i, j));
            }

            code.StoreVector(address, Sum(0, i, j));
        });
        code.ZeroUpper();
        code.Return();
        return code;
    }
    /// <summary>What to do with every vector of sums, by its row and its place in it, and where it lies.</summary>
    private static void ForSums(X64Assembler code, CpuTile tile, string rows, string stride, System.Action<int, int, X64Address> action)
    {
        code.Load(Gpr.rax, Argument(Gpr.rcx, rows));
        code.Load(Gpr.rdx, Argument(Gpr.rcx, stride));
        code.Add(Gpr.rdx, Gpr.rdx);
        code.Add(Gpr.rdx, Gpr.rdx);
        for (int i = 0; i < tile.M; i++)
        {
            for (int j = 0; j < tile.N / Lanes; j++)
            {
                action(i, j, new(Gpr.rax, Displacement: j * VectorBytes));
            }

            if (i + 1 < tile.M)
            {
                code.Add(Gpr.rax, Gpr.rdx);
            }
        }
    }
}
