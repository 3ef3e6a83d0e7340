using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// A group of threads per row of activations: outliers marked, range measured, values quantized. Whether the row is finite is known before
/// anything leaves it. Magnitudes are compared as the integers that their bits are, so that NaN and infinity come out on top.
/// </summary>
internal static class RowKernels
{
    private const string Parameters =
        "ArrayView<int> input, ArrayView<int> quantized, ArrayView<float> rowSteps, ArrayView<int> rowZeros, ArrayView<int> mask, ArrayView<int> range, IlgpuRowShape shape";

    private const string ListParameters = "ArrayView<int> mask, ArrayView<int> outliers, IlgpuRowShape shape";

    /// <summary>What a thread knows about its share of the row; a range that is symmetric has no low end.</summary>
    private static readonly string[] Maxima = { "largest", "high", "low" };

    public static void Write(CodeWriter writer, IlgpuKernelPlan plan) =>
        KernelMethod.Write(writer, plan, plan.Role == IlgpuKernelRole.ListOutliers ? ListParameters : Parameters, () =>
        {
            if (plan.Role == IlgpuKernelRole.ListOutliers)
            {
                List(writer, plan);
                return;
            }

            bool measures = plan.Role == IlgpuKernelRole.MeasureRange || (plan.Role == IlgpuKernelRole.Quantize && !plan.TensorScale);
            Measure(writer, plan, measures);
            switch (plan.Role)
            {
                case IlgpuKernelRole.DetectOutliers:
                    Mark(writer, plan);
                    break;
                case IlgpuKernelRole.MeasureRange:
                    WidenRange(writer, plan);
                    break;
                default:
                    Factors(writer, plan);
                    Quantize(writer, plan);
                    break;
            }
        });

    /// <summary>The type of the delegate to the kernel.</summary>
    public static string DelegateOf(IlgpuKernelPlan plan) => KernelMethod.DelegateOf(plan.Role == IlgpuKernelRole.ListOutliers ? ListParameters : Parameters);

    /// <summary>Whether an element is multiplied elsewhere. NaN may count as either: its row is not used.</summary>
    private static string Excluded(IlgpuKernelPlan plan) => plan.Outliers switch
    {
        OutlierPolicy.Elements => "magnitude >= threshold",
        OutlierPolicy.None => "false",
        _ => "((mask[k >> 5] >> (k & 31)) & 1) != 0",
    };

    /// <summary>largest: the largest magnitude; high and low: those of the values on either side of zero that are quantized.</summary>
    private static void Measure(CodeWriter writer, IlgpuKernelPlan plan, bool range)
    {
        string[] names = Maxima.Take(!range ? 1 : plan.ZeroPoint ? 3 : 2).ToArray();
        writer.Line(QualifiedNames.In($$"""
            int thread = Group.IdxX;
            long firstElement = (long)Grid.IdxX * shape.InputStride;
            int threshold = BitConverter.SingleToInt32Bits(shape.Threshold);
            ArrayView<int> parts = SharedMemory.Allocate<int>({{plan.ReductionWords}});
            int {{string.Join(", ", names.Select(name => $"{name} = 0"))}};
            for (int k = thread; k < shape.K; k += {{plan.Threads}})
            {
                int bits = BitConverter.SingleToInt32Bits(Element(input, firstElement + k, shape.InputFormat));
                int magnitude = bits & 0x7FFFFFFF;
                largest = Math.Max(largest, magnitude);
            """));
        if (range)
        {
            string higher = plan.ZeroPoint
                ? "high = Math.Max(high, bits < 0 ? 0 : magnitude);\n        low = Math.Max(low, bits < 0 ? magnitude : 0);"
                : "high = Math.Max(high, magnitude);";
            writer.Line(QualifiedNames.In(plan.HasOutliers ? $"    if (!({Excluded(plan)}))\n    {{\n        {higher}\n    }}" : $"    {higher.Replace("\n    ", "\n")}"));
        }

        writer.Line("}");
        writer.Line();
        Reduce(writer, plan, names);
        writer.Line("bool isFinite = largest < 0x7F800000;");
    }

    /// <summary>The maxima over the group, known to every thread: an eighth of the values by each of eight threads, then the eight by all.</summary>
    private static void Reduce(CodeWriter writer, IlgpuKernelPlan plan, string[] names)
    {
        int parts = IlgpuKernelPlan.ReductionParts, share = plan.Threads / parts;
        for (int i = 0; i < names.Length; i++)
        {
            writer.Line($"parts[thread + {i * (plan.Threads + parts)}] = {names[i]};");
        }

        writer.Line(QualifiedNames.In($$"""
            Group.Barrier();
            if (thread < {{parts * names.Length}})
            {
                int first = thread / {{parts}} * {{plan.Threads + parts}}, most = 0;
                for (int i = 0; i < {{share}}; i++)
                {
                    most = Math.Max(most, parts[first + (thread % {{parts}} * {{share}}) + i]);
                }

                parts[first + {{plan.Threads}} + (thread % {{parts}})] = most;
            }

            Group.Barrier();
            for (int i = 0; i < {{parts}}; i++)
            {
            """));
        for (int i = 0; i < names.Length; i++)
        {
            writer.Line(QualifiedNames.In($"    {names[i]} = Math.Max({names[i]}, parts[{(i * (plan.Threads + parts)) + plan.Threads} + i]);"));
        }

        writer.Line("}");
        writer.Line();
    }

    /// <summary>Sets the bits of the row's outliers. Most are known from rows before: an atomic is spent on new ones only.</summary>
    private static void Mark(CodeWriter writer, IlgpuKernelPlan plan) => writer.Line(QualifiedNames.In($$"""
        if (isFinite && largest >= threshold)
        {
            for (int k = thread; k < shape.K; k += {{plan.Threads}})
            {
                int magnitude = BitConverter.SingleToInt32Bits(Element(input, firstElement + k, shape.InputFormat)) & 0x7FFFFFFF;
                if (magnitude >= threshold && ((mask[k >> 5] >> (k & 31)) & 1) == 0)
                {
                    Atomic.Or(ref mask[k >> 5], 1 << (k & 31));
                }
            }
        }
        """));

    private static void WidenRange(CodeWriter writer, IlgpuKernelPlan plan)
    {
        writer.Line(QualifiedNames.In("""
            if (isFinite && thread == 0)
            {
                Atomic.Max(ref range[0], high);
            """));
        if (plan.ZeroPoint)
        {
            writer.Line(QualifiedNames.In("    Atomic.Max(ref range[1], low);"));
        }

        writer.Line("}");
    }

    /// <summary>prescale, scale, zero and the row's step, as AbsmaxScaling has them.</summary>
    private static void Factors(CodeWriter writer, IlgpuKernelPlan plan)
    {
        if (plan.TensorScale)
        {
            writer.Line(plan.ZeroPoint ? "int high = range[0], low = range[1];" : "int high = range[0];");
        }

        writer.Line(QualifiedNames.In("""
            float highest = BitConverter.Int32BitsToSingle(high);
            float prescale = 1f, scale = 1f, step;
            """));
        writer.Line(QualifiedNames.In(plan.ZeroPoint
            ? """
            int zero = 0;
            float lowest = -BitConverter.Int32BitsToSingle(low);
            if (Math.Max(-lowest, highest) < 7.888609E-31f)
            {
                prescale = 1.8446744E+19f;
            }

            float half = (highest * prescale * 0.5f) - (lowest * prescale * 0.5f);
            if (half == 0f)
            {
                prescale = 1f;
            }
            else
            {
                scale = Divide(127f, half);
                zero = Round(-(lowest * prescale) * scale) - 127;
            }

            step = Divide((highest * 0.5f) - (lowest * 0.5f), 127f);
            """
            : """
            if (high != 0)
            {
                if (highest < 7.888609E-31f)
                {
                    prescale = 1.8446744E+19f;
                }

                scale = 127f * Divide(1f, highest * prescale);
            }

            step = Divide(highest, 127f);
            """));
        writer.Line(QualifiedNames.In($$"""
            if (thread == 0)
            {
                rowSteps[Grid.IdxX] = isFinite ? step : float.NaN;
            {{(plan.ZeroPoint ? "    rowZeros[Grid.IdxX] = isFinite ? zero : 0;\n" : "")}}}

            """));
    }

    private static void Quantize(CodeWriter writer, IlgpuKernelPlan plan)
    {
        string mark = plan.Outliers == OutlierPolicy.Elements
            ? """

                        if (excluded && ((mask[k >> 5] >> (k & 31)) & 1) == 0)
                        {
                            Atomic.Or(ref mask[k >> 5], 1 << (k & 31));
                        }

            """
            : "";
        string excluded = plan.HasOutliers
            ? $"{(plan.Outliers == OutlierPolicy.Elements ? "int magnitude = BitConverter.SingleToInt32Bits(x) & 0x7FFFFFFF;\n            " : "")}bool excluded = {Excluded(plan)};"
            : "";
        writer.Line(QualifiedNames.In($$"""
            for (int word = thread; word < shape.KWords; word += {{plan.Threads}})
            {
                int packed = 0;
                for (int i = 0; i < 4; i++)
                {
                    int k = (word * 4) + i;
                    if (k < shape.K && isFinite)
                    {
                        float x = Element(input, firstElement + k, shape.InputFormat);
            """));
        if (plan.HasOutliers)
        {
            writer.Line(QualifiedNames.In("            " + excluded + mark.TrimEnd(' ').TrimEnd('\n')));
            if (mark.Length > 0)
            {
                writer.Line();
            }
        }

        string value = plan.HasOutliers ? "(excluded ? 0 : Round(x * prescale * scale))" : "Round(x * prescale * scale)";
        writer.Line(QualifiedNames.In($$"""
                        int value = {{(plan.ZeroPoint ? $"{value} + zero" : value)}};
                        packed |= (Math.Min(Math.Max(value, -127), 127) & 0xFF) << (i * 8);
                    }
                }

                quantized[((long)Grid.IdxX * shape.KWords) + word] = packed;
            }
            """));
    }

    /// <summary>One group: each thread counts the marks of a run of words, finds how many lie before, writes its columns and clears the words.</summary>
    private static void List(CodeWriter writer, IlgpuKernelPlan plan) => writer.Line(QualifiedNames.In($$"""
        int thread = Group.IdxX, words = shape.KWords / 8;
        ArrayView<int> counts = SharedMemory.Allocate<int>({{plan.Threads}});
        int share = (words + {{plan.Threads - 1}}) / {{plan.Threads}};
        int begin = thread * share, end = Math.Min(begin + share, words), count = 0;
        for (int word = begin; word < end; word++)
        {
            count += BitOperations.PopCount((uint)mask[word]);
        }

        counts[thread] = count;
        Group.Barrier();
        int at = 1;
        for (int i = 0; i < thread; i++)
        {
            at += counts[i];
        }

        if (thread == {{plan.Threads - 1}})
        {
            outliers[0] = at - 1 + count;
        }

        for (int word = begin; word < end; word++)
        {
            int bits = mask[word];
            mask[word] = 0;
            while (bits != 0)
            {
                outliers[at] = (word * 32) + BitOperations.TrailingZeroCount(bits);
                at++;
                bits &= bits - 1;
            }
        }
        """));
}
