namespace KernelGen;

/// <summary>What the planner and the runtime know of one CPU instruction set: its vectors, its multiply instruction, its default tiles.</summary>
internal sealed class CpuTarget
{
    /// <summary>Rows of a tile register.</summary>
    public const int TileRows = 16;

    /// <summary>Vectors of sums of a kernel that reads panels side by side: half of the registers where there are fewest.</summary>
    private const int SideBySideSums = 8;

    private CpuTarget(
        CpuInstructionSet instructionSet,
        string suffix,
        int vectorBits,
        int registers,
        int k,
        ActivationFormat format,
        bool fusedAccumulate,
        (int M, int N)[] defaultTiles,
        int pairLimit = 0,
        int mostRows = 0,
        int tiles = 0)
    {
        InstructionSet = instructionSet;
        Suffix = suffix;
        VectorBits = vectorBits;
        Registers = registers;
        K = k;
        Format = format;
        FusedAccumulate = fusedAccumulate;
        DefaultTiles = defaultTiles;
        PairLimit = pairLimit;
        MostRows = mostRows;
        Tiles = tiles;
    }

    public CpuInstructionSet InstructionSet { get; }

    /// <summary>How kernel names and diagnostics spell the instruction set.</summary>
    public string Suffix { get; }

    /// <summary>Width of the vectors that the kernels use; 32 for scalar code.</summary>
    public int VectorBits { get; }

    /// <summary>Vector registers that the encoding reaches.</summary>
    public int Registers { get; }

    /// <summary>Values of k per 32-bit lane.</summary>
    public int K { get; }

    public ActivationFormat Format { get; }

    /// <summary>Whether the multiply instruction adds to the accumulator itself; otherwise a product needs a register of its own.</summary>
    public bool FusedAccumulate { get; }

    /// <summary>The curated tiles of a spec that names none.</summary>
    public System.Collections.Generic.IReadOnlyList<(int M, int N)> DefaultTiles { get; }

    /// <summary>
    /// The largest magnitude of the sum of two neighbouring weights that the multiply instruction can take, 0 where it takes any: it sums
    /// two products in 16 bits, and 255 * 128 is within, 255 * 129 is not. Weights of different signs never come near.
    /// </summary>
    public int PairLimit { get; }

    /// <summary>The tallest tile whose rows of activations machine code can address; 0 where a compiler finds the addresses.</summary>
    public int MostRows { get; }

    /// <summary>Tile registers, each of 16 x 16 sums, 16 rows of activations or 16 output features; 0 where there are none.</summary>
    public int Tiles { get; }

    /// <summary>Whether kernels are machine code of the generator's, not C# with intrinsics.</summary>
    public bool IsMachineCode => MostRows > 0;

    /// <summary>Whether a tile of so many rows is multiplied by tile registers.</summary>
    public bool UsesTiles(int m) => Tiles > 0 && m % TileRows == 0;

    public int Lanes => VectorBits / 32;

    /// <summary>
    /// How many panels of NR output features a kernel of one row reads side by side. One by one in scalar code, which is not tuned, and in machine code, whose single row
    /// asks for the panel after this one instead.
    /// </summary>
    public int PanelsSideBySide(int n) => Lanes == 1 || IsMachineCode ? 1 : System.Math.Max(SideBySideSums * Lanes / n, 1);

    public static System.Collections.Generic.IReadOnlyList<CpuTarget> All { get; } = new[]
    {
        new CpuTarget(CpuInstructionSet.Scalar, "scalar", 32, 16, 1, ActivationFormat.Int8, true, new[] { (1, 4), (2, 4) }),
        new CpuTarget(CpuInstructionSet.Avx2, "avx2", 256, 16, 2, ActivationFormat.Int16, false, new[] { (1, 16), (2, 16), (4, 16), (6, 16) }),
        new CpuTarget(
            CpuInstructionSet.Avx2Bytes, "avx2", 256, 16, 4, ActivationFormat.UInt8, false, new[] { (1, 16), (2, 16), (3, 16), (4, 16), (5, 16) }, pairLimit: 128),
        new CpuTarget(CpuInstructionSet.AvxVnni, "avxvnni", 256, 16, 4, ActivationFormat.UInt8, true, new[] { (1, 16), (2, 16), (4, 16), (6, 16) }),
        // EVEX reaches 32 registers: 12 x 32 needs 24 accumulators, two weight vectors, a broadcast and a product.
        new CpuTarget(CpuInstructionSet.Avx512, "avx512", 512, 32, 2, ActivationFormat.Int16, false, new[] { (1, 32), (4, 32), (8, 32), (12, 32) }),
        // The 22 registers that no calling convention keeps: 8 x 32 needs 16 accumulators, two weight vectors and a broadcast.
        new CpuTarget(
            CpuInstructionSet.Avx512Vnni, "avx512vnni", 512, 22, 4, ActivationFormat.UInt8, true, new[] { (1, 32), (2, 32), (4, 32), (8, 32) }, mostRows: 9),
        // Few rows have no use of tiles and are multiplied as with VNNI; 32 x 32 needs four tiles of sums, two of activations, two of weights.
        new CpuTarget(
            CpuInstructionSet.Amx,
            "amx",
            512,
            22,
            4,
            ActivationFormat.UInt8,
            true,
            new[] { (1, 32), (2, 32), (4, 32), (8, 32), (16, 32), (32, 32) },
            mostRows: 9,
            tiles: 8),
        new CpuTarget(CpuInstructionSet.ArmDp, "armdp", 128, 32, 4, ActivationFormat.Int8, true, new[] { (1, 16), (2, 16), (4, 16), (6, 16) }),
    };

    public static CpuTarget Of(CpuInstructionSet instructionSet) => All[(int)instructionSet];

    /// <summary>Why the tile cannot be had on this target, or null. Register needs are counted so that no accumulator spills.</summary>
    public string? Reject(int m, int n)
    {
        if (n % Lanes != 0)
        {
            return $"NR = {n} is not a multiple of the {Lanes} int32 lanes of a {VectorBits}-bit vector";
        }

        if (UsesTiles(m))
        {
            int tiles = (m / TileRows * n / Lanes) + (m / TileRows) + (n / Lanes);
            return tiles > Tiles ? $"{m}x{n} needs {tiles} tile registers, {Suffix} has {Tiles}" : null;
        }

        if (IsMachineCode && m > MostRows)
        {
            return $"MR = {m} is {(Tiles > 0 ? $"no multiple of {TileRows} and " : string.Empty)}beyond the {MostRows} rows that {Suffix} kernels address";
        }

        int needed = RegistersFor(m, n);
        return needed > Registers
            ? $"{m}x{n} needs {needed} vector registers, {Suffix} has {Registers}"
            : null;
    }

    /// <summary>
    /// Accumulators, one row of weight vectors, the broadcast activation and, without fused accumulation, a product; pairs are widened by a
    /// vector of ones.
    /// </summary>
    public int RegistersFor(int m, int n) => (m * n / Lanes) + (n / Lanes) + 1 + (FusedAccumulate ? 0 : 1) + (PairLimit > 0 ? 1 : 0);
}
