using KernelGen.Generator.Models;

namespace KernelGen.Generator.Emit.Cpu;

/// <summary>
/// Writes the kernels of one vector width that work on rows: the range and the outliers of activations, outlier products, the epilogue.
/// Written once over a <see cref="RowDialect"/>, so scalar and vector code cannot drift apart.
/// </summary>
internal static class CpuRowEmitter
{
    private const string Attributes = "[global::System.Runtime.CompilerServices.MethodImpl(global::System.Runtime.CompilerServices.MethodImplOptions.AggressiveOptimization)]";

    /// <summary>Vectors of a row that an epilogue finishes together.</summary>
    private const int EpilogueVectors = 4;

    public static void Write(CodeWriter writer, KernelSpec spec, RowDialect dialect)
    {
        Int8Spec numbers = spec.Numbers;
        if (numbers.Outliers == OutlierPolicy.Columns)
        {
            WriteMarkOutlierColumns(writer, dialect);
            writer.Line();
        }

        WriteRowRange(writer, numbers, dialect);
        writer.Line();
        if (numbers.Outliers == OutlierPolicy.Elements)
        {
            WriteCountOutliers(writer, dialect);
            writer.Line();
            WriteCollectOutliers(writer, dialect);
            writer.Line();
        }

        WriteEpilogue(writer, numbers, dialect, Accumulation.Int32);
        if (numbers.Accumulation == Accumulation.Int64)
        {
            // So rare that one scalar body serves every vector width: K is over 66,000, and the multiplication takes the time.
            writer.Line();
            WriteEpilogue(writer, numbers, RowDialect.Scalar, Accumulation.Int64);
        }
    }

    /// <summary>The kernel set's constructor call for these kernels.</summary>
    public static string Construct(KernelSpec spec, RowDialect dialect)
    {
        OutlierPolicy outliers = spec.Numbers.Outliers;
        string Name(bool exists, string method) => exists ? $"{dialect.ClassName}.{method}" : "null";
        return $"new({dialect.Bits}, {Name(outliers == OutlierPolicy.Columns, "MarkOutlierColumns")}, {dialect.ClassName}.RowRange, "
            + $"{Name(outliers == OutlierPolicy.Elements, "CountOutliers")}, {Name(outliers == OutlierPolicy.Elements, "CollectOutliers")}, "
            + $"{dialect.ClassName}.Epilogue, "
            + $"{Name(spec.Numbers.Accumulation == Accumulation.Int64, "EpilogueInt64")})";
    }

    private static void WriteMarkOutlierColumns(CodeWriter writer, RowDialect d)
    {
        writer.Line("/// <summary>Clears the mask of every column where a finite row reaches the threshold.</summary>");
        writer.Line(Attributes);
        using (writer.Block("internal static void MarkOutlierColumns(ref float row, nint k, float threshold, ref int keep)"))
        {
            writer.Line($"var largest = {d.ZeroInt};");
            d.ForEachStep(writer, 1, load => writer.Line($"largest = {d.MaxInt("largest", d.Magnitude(load("i")))};"));
            writer.Line($"int absmax = {d.ReduceMax("largest")};");
            writer.Line("int limit = global::System.BitConverter.SingleToInt32Bits(threshold);");
            writer.Line("// As integers the magnitudes of floats are in their own order, infinities and NaNs above all numbers.");
            using (writer.Block($"if (absmax < limit || absmax >= {RowDialect.Infinity})"))
            {
                writer.Line("return;");
            }

            writer.Line();
            writer.Line($"var limits = {d.CreateInt("limit")};");
            void Mark(Func<string, string> load)
            {
                writer.Line($"var stays = {d.LessThan(d.Magnitude(load("i")), "limits")};");
                writer.Line(d.StoreInt("keep", "i", RowDialect.And(d.LoadInt("keep", "i"), "stays")));
            }

            d.ForEachStep(writer, 1, Mark, again: true);
        }
    }

    private static void WriteRowRange(CodeWriter writer, Int8Spec numbers, RowDialect d)
    {
        bool zeroPoint = numbers.Activations == ActivationQuantization.ZeroPoint;
        bool masked = numbers.Outliers != OutlierPolicy.None;
        writer.Line(zeroPoint
            ? "/// <summary>The smallest and largest value that stays in the int8 part, zero included; false when any value is not finite.</summary>"
            : "/// <summary>The absmax of the values that stay in the int8 part; false when any value is not finite.</summary>");
        writer.Line(Attributes);
        using (writer.Block("internal static bool RowRange(ref float row, nint k, ref int keep, float threshold, out float low, out float high)"))
        {
            writer.Line($"var largest = {d.ZeroInt};");
            if (zeroPoint)
            {
                writer.Line($"var lowest = {d.ZeroFloat};");
                writer.Line($"var highest = {d.ZeroFloat};");
            }
            else if (masked)
            {
                writer.Line($"var kept = {d.ZeroInt};");
            }

            if (numbers.Outliers == OutlierPolicy.Elements)
            {
                writer.Line($"var limits = {d.CreateInt("global::System.BitConverter.SingleToInt32Bits(threshold)")};");
            }

            d.ForEachStep(writer, 1, load =>
            {
                writer.Line($"var x = {load("i")};");
                writer.Line($"var magnitude = {d.Magnitude("x")};");
                writer.Line($"largest = {d.MaxInt("largest", "magnitude")};");
                string? mask = Mask(numbers, d, "i", "magnitude");
                if (zeroPoint)
                {
                    if (mask is not null)
                    {
                        writer.Line($"x = {d.AndFloat("x", mask)};");
                    }

                    writer.Line($"lowest = {d.MinFloat("lowest", "x")};");
                    writer.Line($"highest = {d.MaxFloat("highest", "x")};");
                }
                else if (mask is not null)
                {
                    writer.Line($"kept = {d.MaxInt("kept", RowDialect.And("magnitude", mask))};");
                }
            });
            writer.Line($"low = {(zeroPoint ? d.ReduceMinFloat("lowest") : "0f")};");
            writer.Line($"high = {(zeroPoint ? d.ReduceMaxFloat("highest") : $"global::System.BitConverter.Int32BitsToSingle({d.ReduceMax(masked ? "kept" : "largest")})")};");
            writer.Line($"return {d.ReduceMax("largest")} < {RowDialect.Infinity};");
        }
    }

    /// <summary>Quantization depends on the format that a family's microkernels read, so it stands with the family.</summary>
    public static void WriteQuantizeRow(CodeWriter writer, Int8Spec numbers, RowDialect d, ActivationFormat format)
    {
        bool zeroPoint = numbers.Activations == ActivationQuantization.ZeroPoint;
        string parameters = $"{d.FloatType} x, nint i, ref int keep, int limit, float prescale, float scale, int zeroPoint";
        writer.Line("/// <summary>Quantizes a row; an outlier becomes the zero-point.</summary>");
        writer.Line(Attributes);
        using (writer.Block("internal static void QuantizeRow(ref float row, nint k, ref int keep, float threshold, float prescale, float scale, int zeroPoint, ref byte destination)"))
        {
            writer.Line("int limit = global::System.BitConverter.SingleToInt32Bits(threshold);");
            d.ForEachStep(writer, d.GroupParts(format), load =>
            {
                for (int part = 0; part < d.GroupParts(format); part++)
                {
                    string index = $"i + {part * d.Lanes}";
                    writer.Line($"var q{part} = QuantizeVector({load(index)}, {index}, ref keep, limit, prescale, scale, zeroPoint);");
                }

                writer.Line(d.StoreQuantized(format));
            });
        }

        writer.Line();
        writer.Line("[global::System.Runtime.CompilerServices.MethodImpl(global::System.Runtime.CompilerServices.MethodImplOptions.AggressiveInlining)]");
        using (writer.Block($"private static {d.IntType} QuantizeVector({parameters})"))
        {
            if (numbers.Outliers == OutlierPolicy.Elements)
            {
                writer.Line($"var limits = {d.CreateInt("limit")};");
            }

            if (Mask(numbers, d, "i", d.Magnitude("x")) is { } mask)
            {
                writer.Line($"x = {d.AndFloat("x", mask)};");
            }

            writer.Line($"var q = {d.RoundToInt($"({RowDialect.Multiply(RowDialect.Multiply("x", d.CreateFloat("prescale")), d.CreateFloat("scale"))})")};");
            if (zeroPoint)
            {
                writer.Line($"q = {d.MinInt(d.MaxInt($"(q + {d.CreateInt("zeroPoint")})", d.CreateInt("-127")), d.CreateInt("127"))};");
            }

            writer.Line($"return {(format == ActivationFormat.UInt8 ? $"q + {d.CreateInt("128")}" : "q")};");
        }
    }

    private static string? Mask(Int8Spec numbers, RowDialect d, string index, string magnitude) => numbers.Outliers switch
    {
        OutlierPolicy.Columns or OutlierPolicy.Fixed => d.LoadInt("keep", index),
        OutlierPolicy.Elements => d.LessThan(magnitude, "limits"),
        _ => null,
    };

    private static void WriteCountOutliers(CodeWriter writer, RowDialect d)
    {
        writer.Line("/// <summary>Counts the values of a row that reach the threshold.</summary>");
        writer.Line(Attributes);
        using (writer.Block("internal static int CountOutliers(ref float row, nint k, float threshold)"))
        {
            writer.Line($"var limits = {d.CreateInt("global::System.BitConverter.SingleToInt32Bits(threshold)")};");
            writer.Line("int count = 0;");
            d.ForEachStep(writer, 1, load => writer.Line(
                $"count += global::System.Numerics.BitOperations.PopCount({d.MaskBits(d.AtLeast(d.Magnitude(load("i")), "limits"))});"));
            writer.Line("return count;");
        }
    }

    private static void WriteCollectOutliers(CodeWriter writer, RowDialect d)
    {
        const string Unsafe = "global::System.Runtime.CompilerServices.Unsafe";
        writer.Line("/// <summary>Lists the values of a row that reach the threshold, by ascending column.</summary>");
        writer.Line(Attributes);
        using (writer.Block("internal static void CollectOutliers(ref float row, nint k, float threshold, ref int columns, ref float values)"))
        {
            writer.Line($"var limits = {d.CreateInt("global::System.BitConverter.SingleToInt32Bits(threshold)")};");
            writer.Line("int count = 0;");
            d.ForEachStep(writer, 1, load =>
            {
                writer.Line($"ulong found = {d.MaskBits(d.AtLeast(d.Magnitude(load("i")), "limits"))};");
                using (writer.Block("while (found != 0)"))
                {
                    writer.Line($"nint column = i + global::System.Numerics.BitOperations.TrailingZeroCount(found);");
                    writer.Line($"{Unsafe}.Add(ref columns, count) = (int)column;");
                    writer.Line($"{Unsafe}.Add(ref values, count) = {Unsafe}.Add(ref row, column);");
                    writer.Line("count++;");
                    writer.Line("found &= found - 1;");
                }
            });
        }
    }

    private static void WriteEpilogue(CodeWriter writer, Int8Spec numbers, RowDialect d, Accumulation accumulation)
    {
        const string Unsafe = "global::System.Runtime.CompilerServices.Unsafe";
        bool wide = accumulation == Accumulation.Int64;
        bool zeroPoint = numbers.Activations == ActivationQuantization.ZeroPoint;
        bool outliers = numbers.Outliers != OutlierPolicy.None;
        writer.Line(wide
            ? "/// <summary>The epilogue for sums in 64 bits.</summary>"
            : "/// <summary>Dequantizes a tile of sums, adds the outlier products and the bias, applies the activation function.</summary>");
        writer.Line(Attributes);
        using (writer.Block($"internal static void Epilogue{(wide ? "Int64" : string.Empty)}(scoped ref global::KernelGen.Kernels.CpuEpilogueTile tile)"))
        {
            writer.Line("nint columns = tile.Columns;");
            writer.Line("ref float columnScales = ref tile.ColumnScales;");
            writer.Line("ref float bias = ref tile.Bias;");
            if (zeroPoint)
            {
                writer.Line("ref int weightSums = ref tile.WeightSums;");
            }

            if (outliers)
            {
                writer.Line("ref float outlierWeights = ref tile.OutlierWeights;");
                writer.Line("nint outlierStride = tile.OutlierWeightsStride;");
            }

            using (writer.Block("for (nint m = 0; m < tile.Rows; m++)"))
            {
                writer.Line($"ref {(wide ? "long" : "int")} sums = ref {Unsafe}.Add(ref tile.{(wide ? "WideSums" : "Sums")}, m * tile.SumsStride);");
                writer.Line($"ref float results = ref {Unsafe}.Add(ref tile.Results, m * tile.ResultsStride);");
                writer.Line($"var rowScale = {d.CreateFloat($"{Unsafe}.Add(ref tile.RowScales, m)")};");
                if (zeroPoint)
                {
                    string point = $"{Unsafe}.Add(ref tile.ZeroPoints, m)";
                    writer.Line($"var zeroPoint = {(wide ? $"(long){point}" : d.CreateInt(point))};");
                }

                if (outliers)
                {
                    writer.Line($"nint first = {Unsafe}.Add(ref tile.OutlierStarts, m);");
                    writer.Line($"nint count = {Unsafe}.Add(ref tile.OutlierStarts, m + 1) - first;");
                    writer.Line($"ref int slots = ref {Unsafe}.Add(ref tile.OutlierSlots, first);");
                    writer.Line($"ref float values = ref {Unsafe}.Add(ref tile.OutlierValues, first);");
                }

                writer.Line("nint j = 0;");
                if (!wide)
                {
                    WriteEpilogueColumns(writer, numbers, d, wide, EpilogueVectors);
                }

                WriteEpilogueColumns(writer, numbers, d, wide, 1);

                // A loop of its own, while the row is in the cache: the calls of a smooth function would cost the loops above their registers.
                writer.Line();
                using (writer.Block("if (tile.Activation == global::KernelGen.Activation.None)"))
                {
                    writer.Line("continue;");
                }

                writer.Line();
                using (writer.Block($"for (j = 0; j < columns; j += {d.Lanes})"))
                {
                    writer.Line(d.StoreFloat("results", "j", $"global::KernelGen.Kernels.CpuActivations.Apply(tile.Activation, {d.LoadFloat("results", "j")})"));
                }
            }
        }
    }

    /// <summary>Several vectors of a row together share what they need of each outlier.</summary>
    private static void WriteEpilogueColumns(CodeWriter writer, Int8Spec numbers, RowDialect d, bool wide, int vectors)
    {
        const string Unsafe = "global::System.Runtime.CompilerServices.Unsafe";
        bool outliers = numbers.Outliers != OutlierPolicy.None;
        using (writer.Block($"for (; j <= columns - {vectors * d.Lanes}; j += {vectors * d.Lanes})"))
        {
            if (outliers)
            {
                for (int v = 0; v < vectors; v++)
                {
                    writer.Line($"var total{v} = {d.ZeroFloat};");
                }

                using (writer.Block("for (nint i = 0; i < count; i++)"))
                {
                    writer.Line($"ref float weights = ref {Unsafe}.Add(ref outlierWeights, ({Unsafe}.Add(ref slots, i) * outlierStride) + j);");
                    writer.Line($"var value = {d.CreateFloat($"{Unsafe}.Add(ref values, i)")};");
                    for (int v = 0; v < vectors; v++)
                    {
                        writer.Line($"total{v} = {d.FusedMultiplyAdd("value", d.LoadFloat("weights", $"{v * d.Lanes}"), $"total{v}")};");
                    }
                }

                writer.Line();
            }

            for (int v = 0; v < vectors; v++)
            {
                string at = v == 0 ? "j" : $"j + {v * d.Lanes}";
                writer.Line($"var sum{v} = {(wide ? $"{Unsafe}.Add(ref sums, {at})" : d.LoadInt("sums", at))};");
                if (numbers.Activations == ActivationQuantization.ZeroPoint)
                {
                    writer.Line($"sum{v} -= {d.LoadInt("weightSums", at)} * zeroPoint;");
                }

                writer.Line($"var scale{v} = {RowDialect.Multiply("rowScale", d.LoadFloat("columnScales", at))};");
                writer.Line($"var y{v} = {RowDialect.Multiply(wide ? $"(float)sum{v}" : d.ToFloat($"sum{v}"), $"scale{v}")};");
                if (outliers)
                {
                    writer.Line($"y{v} += total{v};");
                }

                writer.Line($"y{v} += {d.LoadFloat("bias", at)};");
                writer.Line(d.StoreFloat("results", at, $"y{v}"));
            }
        }
    }
}
