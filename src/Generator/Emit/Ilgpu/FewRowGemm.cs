using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// Few rows against all weights, each of which is read once: 32 lanes walk along K, neighbours side by side, and hold the sums of all rows
/// with four output features; the lanes' shares are added in shared memory.
/// </summary>
internal static class FewRowGemm
{
    private const int Lanes = IlgpuKernelPlan.FewRowLanes, Pitch = IlgpuKernelPlan.FewRowPitch, Features = 4;

    public static void Write(CodeWriter writer, IlgpuKernelPlan plan) => KernelMethod.Write(writer, plan, GemmEpilogue.Parameters, () =>
    {
        bool dp4a = plan.Instruction == IlgpuInstruction.Dp4a;
        GemmEpilogue epilogue = new(plan, new VariableValues(), 1);
        int[] rows = Enumerable.Range(0, plan.BlockM).ToArray(), features = Enumerable.Range(0, Features).ToArray();
        string[] sums = rows.SelectMany(row => features.Select(feature => $"acc{row}_{feature}")).ToArray();
        writer.Line(QualifiedNames.In($$"""
            int thread = Group.IdxX, lane = thread % {{Lanes}}, part = thread / {{Lanes}};
            int tileFeature = Grid.IdxX * {{plan.BlockN}}, lastWeightRow = shape.N - 1;
            ArrayView<int> shares = SharedMemory.Allocate<int>({{plan.BlockM * plan.BlockN * Pitch}});
            """));
        foreach (int feature in features)
        {
            writer.Line(QualifiedNames.In($"long weightRow{feature} = (long)Math.Min(tileFeature + (part * {Features}) + {feature}, lastWeightRow) * shape.KWords;"));
        }

        writer.Line(dp4a
            ? QualifiedNames.In($"CudaAsm.Emit(\".reg .b32 {string.Join(", ", sums)}; {string.Join(" ", sums.Select(sum => $"mov.b32 {sum}, 0;"))}\");")
            : $"int {string.Join(", ", sums.Select(sum => $"{sum} = 0"))};");
        using (writer.Block($"for (int word = lane; word < shape.KWords; word += {Lanes})"))
        {
            // Rows beyond M lie in the padding of the activations; what they give is not stored.
            foreach (int row in rows)
            {
                writer.Line($"int a{row} = quantized[{(row == 0 ? "word" : $"((long){row} * shape.KWords) + word")}];");
            }

            foreach (int feature in features)
            {
                writer.Line($"int b{feature} = weights[weightRow{feature} + word];");
            }

            foreach (int row in rows)
            {
                foreach (int feature in features)
                {
                    writer.Line(dp4a
                        ? QualifiedNames.In($"CudaAsm.Emit(\"dp4a.s32.s32 acc{row}_{feature}, %0, %1, acc{row}_{feature};\", a{row}, b{feature});")
                        : $"acc{row}_{feature} += {string.Join(" + ", Enumerable.Range(0, 4).Select(i => $"(({Int8Words.Byte($"a{row}", i)}) * ({Int8Words.Byte($"b{feature}", i)}))"))};");
                }
            }
        }

        foreach (int row in rows)
        {
            foreach (int feature in features)
            {
                string sum = $"acc{row}_{feature}";
                if (dp4a)
                {
                    writer.Line(QualifiedNames.In($"CudaAsm.Emit(\"mov.b32 %0, {sum};\", out int share{row}_{feature});"));
                    sum = $"share{row}_{feature}";
                }

                writer.Line($"shares[((({row} * {plan.BlockN}) + (part * {Features}) + {feature}) * {Pitch}) + lane] = {sum};");
            }
        }

        writer.Line(QualifiedNames.In("Group.Barrier();"));
        using CodeWriter.Scope results = writer.Block($"for (int result = thread; result < {plan.BlockM * plan.BlockN}; result += {plan.Threads})");
        writer.Line($"int firstRow = result / {plan.BlockN}, feature = tileFeature + (result % {plan.BlockN});");
        epilogue.WriteFeature(writer);
        epilogue.WriteRows(writer, () => writer.Line($$"""
            int sum0 = 0;
            for (int i = 0; i < {{Lanes}}; i++)
            {
                sum0 += shares[(result * {{Pitch}}) + i];
            }

            """));
    });
}
