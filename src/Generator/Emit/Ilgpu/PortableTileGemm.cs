using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// The kernel that runs everywhere: a tile of both matrices in shared memory, whose rows take one word more than they have, so that neighbours lie in
/// different banks; a thread holds 4 x 4 sums, 16 rows and features apart. ILGPU unrolls nothing, so the sums and bytes are written out.
/// </summary>
internal static class PortableTileGemm
{
    private const int Grid = 4, Apart = 16, RowsPerStep = 8;

    public static void Write(CodeWriter writer, IlgpuKernelPlan plan) => KernelMethod.Write(writer, plan, GemmEpilogue.Parameters, () =>
    {
        int words = plan.BlockK / 4, pitch = words + 1;
        GemmEpilogue epilogue = new(plan, new VariableValues(), RowsPerStep);
        writer.Line(QualifiedNames.In($$"""
            int thread = Group.IdxX, threadRow = thread / {{Apart}}, threadFeature = thread % {{Apart}};
            int rowTiles = (shape.M + {{plan.BlockM - 1}}) / {{plan.BlockM}};
            int tileRow = Grid.IdxX % rowTiles * {{plan.BlockM}}, tileFeature = Grid.IdxX / rowTiles * {{plan.BlockN}};
            ArrayView<int> rowTile = SharedMemory.Allocate<int>({{plan.BlockM * pitch}});
            ArrayView<int> featureTile = SharedMemory.Allocate<int>({{plan.BlockN * pitch}});
            ArrayView<int> sums = SharedMemory.Allocate<int>({{plan.BlockM * plan.BlockN}});
            """));
        foreach (int row in Enumerable.Range(0, Grid))
        {
            writer.Line($"int {string.Join(", ", Enumerable.Range(0, Grid).Select(feature => $"acc{row}_{feature} = 0"))};");
        }

        using (writer.Block($"for (int first = 0; first < shape.KWords; first += {words})"))
        {
            WriteLoad(writer, plan, words, pitch, "rowTile", plan.BlockM, "tileRow", "shape.M", "quantized");
            WriteLoad(writer, plan, words, pitch, "featureTile", plan.BlockN, "tileFeature", "shape.N", "weights");
            writer.Line(QualifiedNames.In("Group.Barrier();"));
            using (writer.Block($"for (int word = 0; word < {words}; word++)"))
            {
                WriteBytes(writer, "a", "rowTile", "threadRow", pitch);
                WriteBytes(writer, "b", "featureTile", "threadFeature", pitch);
                foreach (int row in Enumerable.Range(0, Grid))
                {
                    foreach (int feature in Enumerable.Range(0, Grid))
                    {
                        writer.Line($"acc{row}_{feature} += {string.Join(" + ", Enumerable.Range(0, 4).Select(i => $"(a{row}_{i} * b{feature}_{i})"))};");
                    }
                }
            }

            writer.Line(QualifiedNames.In("Group.Barrier();"));
        }

        foreach (int row in Enumerable.Range(0, Grid))
        {
            foreach (int feature in Enumerable.Range(0, Grid))
            {
                writer.Line($"sums[((threadRow + {row * Apart}) * {plan.BlockN}) + threadFeature + {feature * Apart}] = acc{row}_{feature};");
            }
        }

        writer.Line(QualifiedNames.In($"Group.Barrier();\nint feature = tileFeature + (thread % {plan.BlockN});"));
        epilogue.WriteFeature(writer);
        using CodeWriter.Scope steps = writer.Block(
            $"for (int localRow = thread / {plan.BlockN} * {RowsPerStep}; localRow < {plan.BlockM}; localRow += {plan.Threads / plan.BlockN * RowsPerStep})");
        writer.Line("int firstRow = tileRow + localRow;");
        epilogue.WriteRows(writer, () =>
        {
            for (int i = 0; i < RowsPerStep; i++)
            {
                writer.Line($"int sum{i} = sums[((localRow + {i}) * {plan.BlockN}) + (thread % {plan.BlockN})];");
            }
        });
    });

    private static void WriteLoad(CodeWriter writer, IlgpuKernelPlan plan, int words, int pitch, string tile, int count, string first, string limit, string matrix)
    {
        using CodeWriter.Scope loop = writer.Block($"for (int i = thread; i < {count * words}; i += {plan.Threads})");
        writer.Line($"int row = {first} + (i / {words});");
        writer.Line($"{tile}[(i / {words} * {pitch}) + (i % {words})] = row < {limit} ? {matrix}[((long)row * shape.KWords) + first + (i % {words})] : 0;");
    }

    private static void WriteBytes(CodeWriter writer, string name, string tile, string thread, int pitch)
    {
        for (int i = 0; i < Grid; i++)
        {
            writer.Line($"int {name}{i} = {tile}[(({thread} + {i * Apart}) * {pitch}) + word];");
            writer.Line("int " + string.Join(", ", Enumerable.Range(0, 4).Select(b => $"{name}{i}_{b} = {Int8Words.Byte($"{name}{i}", b)}")) + ";");
        }
    }
}
