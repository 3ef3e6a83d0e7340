using KernelGen.Generator.Planning.Ilgpu;

namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// What follows the integer sums, the same text for every kernel: each thread takes some rows of one output feature at a time, whose sums lie in shared
/// memory: <c>v = float(sum - zero * weightSum) * (rowStep * columnStep)</c>, the outlier columns, ascending, bias, activation, one rounding. Outliers with int8 weights
/// are summed from zero, <c>s = fma(a, w, s)</c>, and <c>v = fma(s, columnStep, v)</c>; with the original ones <c>v = fma(a, w, v)</c>.
/// </summary>
/// <param name="plan">The kernel.</param>
/// <param name="values">How values are computed.</param>
/// <param name="rows">Rows that a thread takes at a time.</param>
internal sealed class GemmEpilogue(IlgpuKernelPlan plan, EpilogueValues values, int rows)
{
    public const string Parameters =
        "ArrayView<int> quantized, ArrayView<int> weights, ArrayView<byte> output, ArrayView<float> rowSteps, ArrayView<int> rowZeros, "
        + "ArrayView<float> columnSteps, ArrayView<int> weightSums, ArrayView<float> bias, ArrayView<int> activations, ArrayView<int> outliers, "
        + "ArrayView<int> originals, IlgpuGemmShape shape";

    /// <summary>Functions that the loops below call.</summary>
    public static string Helpers(OutlierPolicy outliers) => $$"""
        // A weight of an outlier column: the original, or the int8 one without its step.
        private static float OutlierWeight(ArrayView<int> weights, ArrayView<int> originals, int feature, int column, int ordinal, IlgpuGemmShape shape)
        {
            if (shape.OriginalStride != 0)
            {
                return Element(originals, ((long)feature * shape.OriginalStride) + (shape.OriginalsCompact != 0 ? ordinal : column), shape.OriginalFormat);
            }

            int word = weights[((long)feature * shape.KWords) + (column >> 2)];
            return (word << (24 - ((column & 3) * 8))) >> 24;
        }

        private static float OutlierActivation(ArrayView<int> activations, int row, int column, IlgpuGemmShape shape)
        {
            if (row >= shape.M)
            {
                return 0f;
            }

        {{(outliers == OutlierPolicy.Elements
            ? """
                // A value below the threshold is in the int8 part and adds nothing here.
                float value = Element(activations, ((long)row * shape.ActivationStride) + column, shape.InputFormat);
                return Math.Abs(value) >= shape.Threshold ? value : 0f;
            """
            : "    return Element(activations, ((long)row * shape.ActivationStride) + column, shape.InputFormat);")}}
        }
        """;

    /// <summary>What a thread knows about its output feature, the variable <c>feature</c>.</summary>
    public void WriteFeature(CodeWriter writer)
    {
        writer.Line("""
            bool inFeatures = feature < shape.N;
            float columnStep = columnSteps[feature], addend = shape.HasBias != 0 ? bias[feature] : 0f;
            """);
        if (plan.HasOutliers)
        {
            writer.Line("int lastFeature = shape.N - 1, weightFeature = inFeatures ? feature : lastFeature, outlierCount = outliers[0];");
            writer.Line("bool sumsApart = shape.OriginalStride == 0;");
        }

        if (plan.ZeroPoint)
        {
            writer.Line("int weightSum = weightSums[feature];");
        }
    }

    /// <summary>Results of the rows from <c>firstRow</c> on. Statistics are padded to whole tiles, so that they are read without a bound.</summary>
    /// <param name="writer">The file.</param>
    /// <param name="loadSums">Writes what makes the sums available to the values: as <c>sum0</c>, <c>sum1</c> ..., or at an address.</param>
    public void WriteRows(CodeWriter writer, Action loadSums)
    {
        loadSums();
        for (int i = 0; i < rows; i++)
        {
            writer.Line(QualifiedNames.In(values.Scale(
                i, plan.ZeroPoint ? $"rowZeros[firstRow + {i}] * weightSum" : null, $"rowSteps[firstRow + {i}] * columnStep")));
        }

        if (plan.HasOutliers)
        {
            ForRows(writer, values.StartSum);
            string first = "0";
            if (values.FusedMultiplyAddStaged(rows, "stagedColumn", $"stagedColumn + {plan.BlockN * 4} + ((firstRow - tileRow - (thread % {plan.BlockN})) * 4)") is { } staged)
            {
                first = "stagedCount";
                using CodeWriter.Scope near = writer.Block("for (int ordinal = 0; ordinal < stagedCount; ordinal++)");
                writer.Line($"int stagedColumn = {plan.StagedOffset} + (ordinal * {(plan.BlockM + plan.BlockN) * 4}) + (thread % {plan.BlockN} * 4);");
                writer.Line(QualifiedNames.In(staged));
            }

            using (writer.Block($"for (int ordinal = {first}; ordinal < outlierCount; ordinal++)"))
            {
                writer.Line("int column = outliers[ordinal + 1];");
                writer.Line("float weight = OutlierWeight(weights, originals, weightFeature, column, ordinal, shape);");
                ForRows(writer, i => values.FusedMultiplyAdd(i, $"OutlierActivation(activations, firstRow + {i}, column, shape)", "weight"));
            }

            ForRows(writer, values.AddSum);
        }

        using (writer.Block("if (shape.HasBias != 0)"))
        {
            ForRows(writer, i => values.Add(i, "addend"));
        }

        for (int i = 0; i < rows; i++)
        {
            if (values.Read(i) is { } read)
            {
                writer.Line(QualifiedNames.In(read));
            }
        }

        using (writer.Block("if (shape.Activation != 0)"))
        {
            for (int i = 0; i < rows; i++)
            {
                writer.Line($"value{i} = Activate(value{i}, shape.Activation);");
            }
        }

        writer.Line("long at = ((long)firstRow * shape.OutputStride) + feature;");
        for (int i = 0; i < rows; i++)
        {
            using (writer.Block($"if (inFeatures && firstRow + {i} < shape.M)"))
            {
                writer.Line($"Store(output, at, value{i}, shape.OutputFormat);");
            }

            if (i < rows - 1)
            {
                writer.Line("at += shape.OutputStride;");
            }
        }
    }

    private void ForRows(CodeWriter writer, System.Func<int, string> line)
    {
        for (int i = 0; i < rows; i++)
        {
            writer.Line(QualifiedNames.In(line(i)));
        }
    }
}
