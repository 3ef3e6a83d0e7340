using KernelGen.Generator.Planning;

namespace KernelGen.Generator.Emit.Cpu;

/// <summary>
/// Writes the microkernels of a family. A kernel's body is the same for every instruction set: the accumulators of an MR x NR tile in named
/// locals, so that the compiler keeps them in registers, over small functions that say what one instruction set does.
/// </summary>
internal static class CpuGemmEmitter
{
    private const string Unsafe = "global::System.Runtime.CompilerServices.Unsafe";

    private const int CacheLine = 64;

    /// <summary>K groups of a round of a low tile; panels are padded to it.</summary>
    private const int GroupsPerRound = KernelLimits.KGroupMultiple;

    private const int MostUnrolledSums = 4;

    /// <summary>Bytes that one weight vector takes in a panel.</summary>
    private static int WeightBytes(CpuTarget target) => target.Lanes * target.K;

    /// <summary>Bytes of one K group of an activation row.</summary>
    private static int GroupBytes(CpuTarget target) => target.K * (target.Format == ActivationFormat.Int16 ? 2 : 1);

    public static void Write(CodeWriter writer, CpuFamilyPlan family)
    {
        CpuTarget target = family.Target;
        WriteInstructions(writer, target);
        foreach (int height in family.TileHeights)
        {
            writer.Line();
            WriteKernel(writer, family, height);
        }

        if (family.WideRow is { } wide)
        {
            writer.Line();
            WriteWideRow(writer, family, wide);
        }
    }

    public static string MethodName(CpuTile tile) => $"Gemm{tile.M}x{tile.N}";

    private static void WriteKernel(CodeWriter writer, CpuFamilyPlan family, int height)
    {
        CpuTarget target = family.Target;
        CpuTile tile = family.Tile(height);
        int vectors = tile.N / target.Lanes;
        int panelStep = vectors * WeightBytes(target);
        bool header = target.Format == ActivationFormat.UInt8;

        // Two groups a round for low tiles, each with sums of its own: a single sum would wait for itself.
        int unroll = tile.M * vectors <= MostUnrolledSums ? GroupsPerRound : 1;
        writer.Line($"/// <summary>{family.KernelName(height)}: {tile.M} x {tile.N} results in {tile.M * vectors} accumulators, {tile.K} of K a step.</summary>");
        writer.Line("[global::System.Runtime.CompilerServices.MethodImpl(global::System.Runtime.CompilerServices.MethodImplOptions.AggressiveOptimization)]");
        using (writer.Block(
            $"internal static void {MethodName(tile)}(ref byte a, nint aStride, ref byte panel, nint kGroups, ref int start, nint startStride, ref int c, nint cStride)"))
        {
            foreach (int i in Enumerable.Range(0, tile.M))
            {
                writer.Line(i == 0 ? "ref byte a0 = ref a;" : $"ref byte a{i} = ref {Unsafe}.AddByteOffset(ref a{i - 1}, aStride);");
            }

            foreach (int i in Enumerable.Range(0, tile.M))
            {
                if (header && i > 0)
                {
                    writer.Line($"start = ref {Unsafe}.Add(ref start, startStride);");
                }

                writer.Line(string.Join(" ", Enumerable.Range(0, vectors).Select(j => $"var c{i}_{j} = {(header ? $"Start(ref start, {j * target.Lanes})" : "Zero")};")));
                if (unroll > 1)
                {
                    writer.Line(string.Join(" ", Enumerable.Range(0, vectors).Select(j => $"var d{i}_{j} = Zero;")));
                }
            }

            writer.Line(header
                ? $"ref byte b = ref {Unsafe}.AddByteOffset(ref panel, (nint){tile.N * sizeof(int)});"
                : "ref byte b = ref panel;");
            writer.Line($"nint end = kGroups * {GroupBytes(target)};");
            writer.Line($"nint next = kGroups * {panelStep};");
            using (writer.Block($"for (nint k = 0; k < end; k += {unroll * GroupBytes(target)})"))
            {
                // The panel after this one, while the multiply units have work: its first use then finds it in the cache.
                for (int line = 0; line < unroll * panelStep; line += CacheLine)
                {
                    writer.Line($"global::KernelGen.Kernels.CpuVectors.Prefetch(ref {Unsafe}.AddByteOffset(ref b, next + {line}));");
                }

                for (int group = 0; group < unroll; group++)
                {
                    string declare = group == 0 ? "var " : string.Empty;
                    string sums = group == 0 ? "c" : "d";
                    string k = group == 0 ? "k" : $"k + {GroupBytes(target)}";
                    foreach (int j in Enumerable.Range(0, vectors))
                    {
                        writer.Line($"{declare}b{j} = Weights(ref b, {(group * panelStep) + (j * WeightBytes(target))});");
                    }

                    foreach (int i in Enumerable.Range(0, tile.M))
                    {
                        writer.Line($"{(i == 0 ? declare : string.Empty)}x = Broadcast(ref a{i}, {k});");
                        foreach (int j in Enumerable.Range(0, vectors))
                        {
                            writer.Line($"{sums}{i}_{j} = MultiplyAdd({sums}{i}_{j}, x, b{j});");
                        }
                    }
                }

                writer.Line($"b = ref {Unsafe}.AddByteOffset(ref b, (nint){unroll * panelStep});");
            }

            foreach (int i in Enumerable.Range(0, tile.M))
            {
                writer.Line(i == 0 ? "ref int row = ref c;" : $"row = ref {Unsafe}.Add(ref row, cStride);");
                foreach (int j in Enumerable.Range(0, vectors))
                {
                    writer.Line($"Store(ref row, {j * target.Lanes}, c{i}_{j}{(unroll > 1 ? $" + d{i}_{j}" : string.Empty)});");
                }
            }
        }
    }

    /// <summary>
    /// One row against several neighbouring panels at once. It waits for weights from memory, and a processor fetches several streams of addresses faster ahead than one;
    /// asking for what it fetches anyway would slow it down.
    /// </summary>
    private static void WriteWideRow(CodeWriter writer, CpuFamilyPlan family, CpuTile tile)
    {
        CpuTarget target = family.Target;
        int panels = tile.N / family.PanelWidth, vectors = family.PanelWidth / target.Lanes, panelStep = vectors * WeightBytes(target);
        bool header = target.Format == ActivationFormat.UInt8;
        int headerBytes = header ? family.PanelWidth * sizeof(int) : 0;
        writer.Line($"/// <summary>{KernelNames.CpuGemm(tile, target)}: 1 x {tile.N} results of {panels} panels in {panels * vectors} accumulators, {tile.K} of K a step.</summary>");
        writer.Line("[global::System.Runtime.CompilerServices.MethodImpl(global::System.Runtime.CompilerServices.MethodImplOptions.AggressiveOptimization)]");
        using (writer.Block($"internal static void {MethodName(tile)}(ref byte a, ref byte panel, nint kGroups, ref int c)"))
        {
            writer.Line($"nint end = kGroups * {GroupBytes(target)};");
            writer.Line($"nint panelBytes = (kGroups * {panelStep}) + {headerBytes};");
            foreach (int p in Enumerable.Range(0, panels))
            {
                writer.Line(p == 0 ? "ref byte panel0 = ref panel;" : $"ref byte panel{p} = ref {Unsafe}.AddByteOffset(ref panel{p - 1}, panelBytes);");
            }

            foreach (int p in Enumerable.Range(0, panels))
            {
                writer.Line(string.Join(" ", Enumerable.Range(0, vectors).Select(j => $"var c{p}_{j} = {(header ? $"Start(ref {Unsafe}.As<byte, int>(ref panel{p}), {j * target.Lanes})" : "Zero")};")));
            }

            writer.Line($"nint at = {headerBytes};");
            using (writer.Block($"for (nint k = 0; k < end; k += {GroupBytes(target)})"))
            {
                writer.Line("var x = Broadcast(ref a, k);");
                foreach (int p in Enumerable.Range(0, panels))
                {
                    foreach (int j in Enumerable.Range(0, vectors))
                    {
                        writer.Line($"c{p}_{j} = MultiplyAdd(c{p}_{j}, x, Weights(ref panel{p}, at + {j * WeightBytes(target)}));");
                    }
                }

                writer.Line($"at += {panelStep};");
            }

            foreach (int p in Enumerable.Range(0, panels))
            {
                foreach (int j in Enumerable.Range(0, vectors))
                {
                    writer.Line($"Store(ref c, {(p * family.PanelWidth) + (j * target.Lanes)}, c{p}_{j});");
                }
            }
        }
    }

    /// <summary>What one instruction set does for a vector of sums: start it, load weights, broadcast a K group, multiply and add, store.</summary>
    private static void WriteInstructions(CodeWriter writer, CpuTarget target)
    {
        const string Intrinsics = "global::System.Runtime.Intrinsics";
        string vector = $"{Intrinsics}.Vector{target.VectorBits}";
        (string Sum, string Activations, string Weights) types = target.InstructionSet switch
        {
            CpuInstructionSet.Scalar => ("int", "int", "int"),
            CpuInstructionSet.AvxVnni or CpuInstructionSet.Avx2Bytes => ($"{vector}<int>", $"{vector}<byte>", $"{vector}<sbyte>"),
            CpuInstructionSet.ArmDp => ($"{vector}<int>", $"{vector}<sbyte>", $"{vector}<sbyte>"),
            _ => ($"{vector}<int>", $"{vector}<short>", $"{vector}<short>"),
        };
        string group = $"{Unsafe}.ReadUnaligned<int>(ref {Unsafe}.AddByteOffset(ref row, offset))";
        string loadBytes = $"ref {Unsafe}.AddByteOffset(ref panel, offset)";
        (string Weights, string Broadcast, string MultiplyAdd) bodies = target.InstructionSet switch
        {
            CpuInstructionSet.Scalar => (
                $"unchecked((sbyte){Unsafe}.AddByteOffset(ref panel, offset))",
                $"unchecked((sbyte){Unsafe}.AddByteOffset(ref row, offset))",
                "sum + (a * w)"),
            CpuInstructionSet.Avx2 => (
                $"{Intrinsics}.X86.Avx2.ConvertToVector256Int16({Intrinsics}.Vector128.AsSByte({Intrinsics}.Vector128.LoadUnsafe({loadBytes})))",
                $"{vector}.AsInt16({vector}.Create({group}))",
                $"{Intrinsics}.X86.Avx2.Add(sum, {Intrinsics}.X86.Avx2.MultiplyAddAdjacent(a, w))"),
            CpuInstructionSet.Avx512 => (
                $"{Intrinsics}.X86.Avx512BW.ConvertToVector512Int16({Intrinsics}.Vector256.AsSByte({Intrinsics}.Vector256.LoadUnsafe({loadBytes})))",
                $"{vector}.AsInt16({vector}.Create({group}))",
                $"{Intrinsics}.X86.Avx512F.Add(sum, {Intrinsics}.X86.Avx512BW.MultiplyAddAdjacent(a, w))"),
            CpuInstructionSet.Avx2Bytes => (
                $"{vector}.AsSByte({vector}.LoadUnsafe({loadBytes}))",
                $"{vector}.AsByte({vector}.Create({group}))",
                $"{Intrinsics}.X86.Avx2.Add(sum, {Intrinsics}.X86.Avx2.MultiplyAddAdjacent({Intrinsics}.X86.Avx2.MultiplyAddAdjacent(a, w), {vector}.Create((short)1)))"),
            CpuInstructionSet.AvxVnni => (
                $"{vector}.AsSByte({vector}.LoadUnsafe({loadBytes}))",
                $"{vector}.AsByte({vector}.Create({group}))",
                $"{Intrinsics}.X86.AvxVnni.MultiplyWideningAndAdd(sum, a, w)"),
            _ => (
                $"{vector}.AsSByte({vector}.LoadUnsafe({loadBytes}))",
                $"{vector}.AsSByte({vector}.Create({group}))",
                $"{Intrinsics}.Arm.Dp.DotProduct(sum, w, a)"),
        };
        const string Inline = "[global::System.Runtime.CompilerServices.MethodImpl(global::System.Runtime.CompilerServices.MethodImplOptions.AggressiveInlining)]";
        bool scalar = target.InstructionSet == CpuInstructionSet.Scalar;
        if (target.Format == ActivationFormat.UInt8)
        {
            writer.Line("/// <summary>What the sums of a row start from.</summary>");
            writer.Line(Inline);
            writer.Line($"private static {types.Sum} Start(ref int row, int column) =>");
            writer.Line($"    {vector}.LoadUnsafe(ref row, (nuint)column);");
            writer.Line();
        }

        writer.Line($"private static {types.Sum} Zero => {(scalar ? "0" : $"{vector}<int>.Zero")};");
        writer.Line();
        writer.Line($"/// <summary>The weights of {target.Lanes} output feature{(scalar ? string.Empty : "s")}, {target.K} of K each.</summary>");
        writer.Line(Inline);
        writer.Line($"private static {types.Weights} Weights(ref byte panel, nint offset) =>");
        writer.Line($"    {bodies.Weights};");
        writer.Line();
        writer.Line($"/// <summary>{target.K} of K of one activation row, in every lane.</summary>");
        writer.Line(Inline);
        writer.Line($"private static {types.Activations} Broadcast(ref byte row, nint offset) =>");
        writer.Line($"    {bodies.Broadcast};");
        writer.Line();
        writer.Line(Inline);
        writer.Line($"private static {types.Sum} MultiplyAdd({types.Sum} sum, {types.Activations} a, {types.Weights} w) =>");
        writer.Line($"    {bodies.MultiplyAdd};");
        writer.Line();
        writer.Line(Inline);
        writer.Line($"private static void Store(ref int row, int column, {types.Sum} sum) =>");
        writer.Line(scalar
            ? $"    {Unsafe}.Add(ref row, column) = sum;"
            : $"    {vector}.StoreUnsafe(sum, ref row, (nuint)column);");
    }
}
