namespace KernelGen.Generator.Emit.Cpu.X64;

/// <summary>
/// The microkernel of a tile of 16 or 32 rows in machine code for AMX, whose tile registers .NET does not know. It reads what the 256-bit kernels
/// read: 16 rows of activations are a tile as they lie, and so are 16 output features of a panel, four of K side by side. System V alone: Linux is where the system lets a process have tiles.
/// </summary>
internal static class X64TileGemmCode
{
    private const int TileBytes = 64;

    public static X64Assembler Assemble(CpuTile tile)
    {
        int heights = tile.M / CpuTarget.TileRows, widths = tile.N * sizeof(int) / TileBytes;
        int groupBytes = tile.N * sizeof(int);
        Gpr[] rows = [Gpr.rax, Gpr.r11];
        X64Assembler code = new();
        code.Load(Gpr.r10, X64GemmCode.Argument(Gpr.rdi, nameof(CpuGemmArguments.TileConfiguration)));
        code.LoadTileConfiguration(new(Gpr.r10));
        ForSums(code, tile, nameof(CpuGemmArguments.Start), nameof(CpuGemmArguments.StartStride), (sums, address) => code.LoadTile(sums, address));
        code.Load(Gpr.rax, X64GemmCode.Argument(Gpr.rdi, nameof(CpuGemmArguments.A)));
        code.Load(Gpr.rdx, X64GemmCode.Argument(Gpr.rdi, nameof(CpuGemmArguments.AStride)));
        code.Load(Gpr.r8, X64GemmCode.Argument(Gpr.rdi, nameof(CpuGemmArguments.Panel)));
        code.Load(Gpr.r9, X64GemmCode.Argument(Gpr.rdi, nameof(CpuGemmArguments.KGroups)));
        code.Load(Gpr.r10, X64GemmCode.Argument(Gpr.rdi, nameof(CpuGemmArguments.StepBytes)));
        if (heights > 1)
        {
            code.Multiply(Gpr.r11, Gpr.rdx, CpuTarget.TileRows);
            code.Add(Gpr.r11, Gpr.rax);
        }

        // r9 is where the first row ends, rsi the bytes of a panel that a step takes, rcx from one group of a panel to the next. A header comes first.
        code.Add(Gpr.r8, groupBytes);
        code.Add(Gpr.r9, Gpr.r9);
        code.Add(Gpr.r9, Gpr.r9);
        code.Add(Gpr.r9, Gpr.rax);
        code.Multiply(Gpr.rsi, Gpr.r10, groupBytes / 4);
        code.Clear(Gpr.rcx);
        code.Add(Gpr.rcx, groupBytes);
        int loop = code.Length;
        code.LoadTile(CpuGemmArguments.FirstActivationTile, new(Gpr.rax, Gpr.rdx));
        for (int j = 0; j < widths; j++)
        {
            code.LoadTile(CpuGemmArguments.FirstWeightTile + (j % 2), new(Gpr.r8, Gpr.rcx, 1, j * TileBytes));
            code.MultiplyAddTiles(j, CpuGemmArguments.FirstActivationTile, CpuGemmArguments.FirstWeightTile + (j % 2));
        }

        for (int i = 1; i < heights; i++)
        {
            code.LoadTile(CpuGemmArguments.FirstActivationTile + i, new(rows[i], Gpr.rdx));
            for (int j = 0; j < widths; j++)
            {
                code.MultiplyAddTiles((i * widths) + j, CpuGemmArguments.FirstActivationTile + i, CpuGemmArguments.FirstWeightTile + (j % 2));
            }
        }

        code.Add(Gpr.r8, Gpr.rsi);
        for (int i = heights - 1; i >= 0; i--)
        {
            code.Add(rows[i], Gpr.r10);
        }

        code.Compare(Gpr.rax, Gpr.r9);
        code.JumpIfBelow(loop);

        ForSums(code, tile, nameof(CpuGemmArguments.C), nameof(CpuGemmArguments.CStride), (sums, address) => code.StoreTile(address, sums));
        code.ReleaseTiles();
        code.Return();
        return code;
    }
    /// <summary>What to do with every tile of sums, and where it lies.</summary>
    private static void ForSums(X64Assembler code, CpuTile tile, string rows, string stride, System.Action<int, X64Address> action)
    {
        int heights = tile.M / CpuTarget.TileRows, widths = tile.N * sizeof(int) / TileBytes;
        code.Load(Gpr.rax, X64GemmCode.Argument(Gpr.rdi, rows));
        code.Load(Gpr.rdx, X64GemmCode.Argument(Gpr.rdi, stride));
        code.Add(Gpr.rdx, Gpr.rdx);
        code.Add(Gpr.rdx, Gpr.rdx);
        for (int i = 0; i < heights; i++)
        {
            if (i > 0)
            {
                code.Multiply(Gpr.rcx, Gpr.rdx, CpuTarget.TileRows);
                code.Add(Gpr.rax, Gpr.rcx);
            }

            for (int j = 0; j < widths; j++)
            {
                action((i * widths) + j, new(Gpr.rax, Gpr.rdx, 1, j * TileBytes));
            }
        }
    }
}
