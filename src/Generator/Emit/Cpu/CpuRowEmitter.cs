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
            WriteMarkOutlierColumns(writer, numbers, dialect);
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

    private static void WriteMarkOutlierColumns(CodeWriter writer, Int8Spec numbers, RowDialect d)
    {
        bool zeroPoint = numbers.Activations == ActivationQuantization.ZeroPoint;
        writer.Line("/// <summary>Clears the mask of every column where a finite row reaches the threshold, and finds the range of what is kept.</summary>");
        writer.Line(Attributes);
        using (writer.Block("internal static int MarkOutlierColumns(ref float row, nint k, float threshold, ref int keep, out float low, out float high)"))
        {
            writer.Line("// As integers the magnitudes of floats are in their own order, infinities and NaNs above all numbers.");
            writer.Line($"var largest = {d.ZeroInt};");
            WriteStartOfRange(writer, d, zeroPoint);
            d.ForEachStep(writer, 1, load =>
            {
                writer.Line($"var x = {load("i")};");
                writer.Line($"var magnitude = {d.Magnitude("x")};");
                writer.Line($"largest = {d.MaxInt("largest", "magnitude")};");
                WriteStepOfRange(writer, d, zeroPoint, d.LoadInt("keep", "i"));
            });
            WriteEndOfRange(writer, d, zeroPoint, "kept");
            using (writer.Block($"if ({d.ReduceMax("largest")} >= {RowDialect.Infinity})"))
            {
                writer.Line("return -1;");
            }

            writer.Line();
            writer.Line("// Outliers are systematic: most rows have none that the rows before have not.");
            using (writer.Block($"if ({(zeroPoint ? "global::System.Math.Max(high, -low)" : "high")} < threshold)"))
            {
                writer.Line("return 0;");
            }

            writer.Line();
            writer.Line("int cleared = 0;");
            writer.Line($"var limits = {d.CreateInt("global::System.BitConverter.SingleToInt32Bits(threshold)")};");
            WriteStartOfRange(writer, d, zeroPoint, again: true);
            d.ForEachStep(
                writer,
                1,
                load =>
                {
                    writer.Line($"var x = {load("i")};");
                    writer.Line($"var magnitude = {d.Magnitude("x")};");
                    writer.Line($"var before = {d.LoadInt("keep", "i")};");
                    writer.Line($"var stays = {RowDialect.And("before", d.LessThan("magnitude", "limits"))};");
                    writer.Line($"cleared += global::System.Numerics.BitOperations.PopCount({d.SignBits("before")}) - global::System.Numerics.BitOperations.PopCount({d.SignBits("stays")});");
                    writer.Line(d.StoreInt("keep", "i", "stays"));
                    WriteStepOfRange(writer, d, zeroPoint, "stays");
                },
                again: true);
            WriteEndOfRange(writer, d, zeroPoint, "kept");
            writer.Line("return cleared;");
        }
    }

    private static void WriteStartOfRange(CodeWriter writer, RowDialect d, bool zeroPoint, bool again = false)
    {
        string declare = again ? string.Empty : "var ";
        if (zeroPoint)
        {
            writer.Line($"{declare}lowest = {d.ZeroFloat};");
            writer.Line($"{declare}highest = {d.ZeroFloat};");
        }
        else
        {
            writer.Line($"{declare}kept = {d.ZeroInt};");
        }
    }

    /// <summary>Takes the values <c>x</c> into the range, where a mask lets them; their magnitudes are there already.</summary>
    private static void WriteStepOfRange(CodeWriter writer, RowDialect d, bool zeroPoint, string? mask)
    {
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
    }

    private static void WriteEndOfRange(CodeWriter writer, RowDialect d, bool zeroPoint, string kept)
    {
        writer.Line($"low = {(zeroPoint ? d.ReduceMinFloat("lowest") : "0f")};");
        writer.Line($"high = {(zeroPoint ? d.ReduceMaxFloat("highest") : $"global::System.BitConverter.Int32BitsToSingle({d.ReduceMax(kept)})")};");
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
            if (zeroPoint || masked)
            {
                WriteStartOfRange(writer, d, zeroPoint);
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
                WriteStepOfRange(writer, d, zeroPoint, Mask(numbers, d, "i", "magnitude"));
            });
            WriteEndOfRange(writer, d, zeroPoint, masked ? "kept" : "largest");
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
        bool wide = accumulation == Accumulation.Int64;
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
            if (numbers.Activations == ActivationQuantization.ZeroPoint)
            {
                writer.Line("ref int weightSums = ref tile.WeightSums;");
            }

            if (outliers)
            {
                writer.Line("ref float outlierWeights = ref tile.OutlierWeights;");
                writer.Line("nint outlierStride = tile.OutlierWeightsStride;");
            }

            // Where whole columns leave, rows have the same outliers: two rows use a weight that was loaded once.
            writer.Line("nint m = 0;");
            if (outliers && numbers.Outliers != OutlierPolicy.Elements && !wide)
            {
                WriteEpilogueRows(writer, numbers, d, wide, 2);
                writer.Line();
            }

            WriteEpilogueRows(writer, numbers, d, wide, 1);
        }
    }

    /// <summary>Some rows of a tile together, as often as there are that many.</summary>
    private static void WriteEpilogueRows(CodeWriter writer, Int8Spec numbers, RowDialect d, bool wide, int rows)
    {
        const string Unsafe = "global::System.Runtime.CompilerServices.Unsafe";
        using (writer.Block(rows == 1 ? "for (; m < tile.Rows; m++)" : $"for (; m <= tile.Rows - {rows}; m += {rows})"))
        {
            for (int r = 0; r < rows; r++)
            {
                string row = r == 0 ? "m" : $"(m + {r})";
                writer.Line($"ref {(wide ? "long" : "int")} sums{r} = ref {Unsafe}.Add(ref tile.{(wide ? "WideSums" : "Sums")}, {row} * tile.SumsStride);");
                writer.Line($"ref float results{r} = ref {Unsafe}.Add(ref tile.Results, {row} * tile.ResultsStride);");
                writer.Line($"var rowScale{r} = {d.CreateFloat($"{Unsafe}.Add(ref tile.RowScales, {row})")};");
                if (numbers.Activations == ActivationQuantization.ZeroPoint)
                {
                    string point = $"{Unsafe}.Add(ref tile.ZeroPoints, {row})";
                    writer.Line($"var zeroPoint{r} = {(wide ? $"(long){point}" : d.CreateInt(point))};");
                }
            }

            if (numbers.Outliers != OutlierPolicy.None)
            {
                writer.Line($"nint first = {Unsafe}.Add(ref tile.OutlierStarts, m);");
                writer.Line($"nint count = {Unsafe}.Add(ref tile.OutlierStarts, m + 1) - first;");
                if (numbers.Outliers == OutlierPolicy.Elements)
                {
                    writer.Line($"ref int slots = ref {Unsafe}.Add(ref tile.OutlierSlots, first);");
                }

                for (int r = 0; r < rows; r++)
                {
                    writer.Line($"ref float values{r} = ref {Unsafe}.Add(ref {(r == 0 ? "tile.OutlierValues, first" : $"values{r - 1}, count")});");
                }
            }

            writer.Line("nint j = 0;");
            if (!wide)
            {
                WriteEpilogueColumns(writer, numbers, d, wide, rows, EpilogueVectors);
            }

            WriteEpilogueColumns(writer, numbers, d, wide, rows, 1);

            // A loop of its own, while the row is in the cache: the calls of a smooth function would cost the loops above their registers.
            writer.Line();
            using (writer.Block("if (tile.Activation == global::KernelGen.Activation.None)"))
            {
                writer.Line("continue;");
            }

            writer.Line();
            using (writer.Block($"for (j = 0; j < columns; j += {d.Lanes})"))
            {
                for (int r = 0; r < rows; r++)
                {
                    writer.Line(d.StoreFloat($"results{r}", "j", $"global::KernelGen.Kernels.CpuActivations.Apply(tile.Activation, {d.LoadFloat($"results{r}", "j")})"));
                }
            }
        }
    }

    /// <summary>Several vectors of a row together share what they need of each outlier.</summary>
    private static void WriteEpilogueColumns(CodeWriter writer, Int8Spec numbers, RowDialect d, bool wide, int rows, int vectors)
    {
        bool outliers = numbers.Outliers != OutlierPolicy.None;
        using (writer.Block($"for (; j <= columns - {vectors * d.Lanes}; j += {vectors * d.Lanes})"))
        {
            if (outliers)
            {
                WriteOutlierProducts(writer, numbers, d, rows, vectors);
                writer.Line();
            }

            for (int v = 0; v < vectors; v++)
            {
                string at = v == 0 ? "j" : $"j + {v * d.Lanes}";
                for (int r = 0; r < rows; r++)
                {
                    writer.Line($"var sum{r}_{v} = {(wide ? $"global::System.Runtime.CompilerServices.Unsafe.Add(ref sums{r}, {at})" : d.LoadInt($"sums{r}", at))};");
                    if (numbers.Activations == ActivationQuantization.ZeroPoint)
                    {
                        writer.Line($"sum{r}_{v} -= {d.LoadInt("weightSums", at)} * zeroPoint{r};");
                    }

                    writer.Line($"var scale{r}_{v} = {RowDialect.Multiply($"rowScale{r}", d.LoadFloat("columnScales", at))};");
                    writer.Line($"var y{r}_{v} = {RowDialect.Multiply(wide ? $"(float)sum{r}_{v}" : d.ToFloat($"sum{r}_{v}"), $"scale{r}_{v}")};");
                    if (outliers)
                    {
                        writer.Line($"y{r}_{v} += total{r}_{v};");
                    }

                    writer.Line($"y{r}_{v} += {d.LoadFloat("bias", at)};");
                    writer.Line(d.StoreFloat($"results{r}", at, $"y{r}_{v}"));
                }
            }
        }
    }

    /// <summary>Sums of the outliers' products: of a row's own list, or of all gathered columns.</summary>
    private static void WriteOutlierProducts(CodeWriter writer, Int8Spec numbers, RowDialect d, int rows, int vectors)
    {
        const string Unsafe = "global::System.Runtime.CompilerServices.Unsafe";
        bool lists = numbers.Outliers == OutlierPolicy.Elements;
        for (int r = 0; r < rows; r++)
        {
            writer.Line(string.Join(" ", Enumerable.Range(0, vectors).Select(v => $"var total{r}_{v} = {d.ZeroFloat};")));
        }

        if (!lists)
        {
            writer.Line($"ref float weights = ref {Unsafe}.Add(ref outlierWeights, j);");
        }

        using (writer.Block("for (nint i = 0; i < count; i++)"))
        {
            if (lists)
            {
                writer.Line($"ref float weights = ref {Unsafe}.Add(ref outlierWeights, ({Unsafe}.Add(ref slots, i) * outlierStride) + j);");
            }

            for (int r = 0; r < rows; r++)
            {
                writer.Line($"var value{r} = {d.CreateFloat($"{Unsafe}.Add(ref values{r}, i)")};");
            }

            for (int v = 0; v < vectors; v++)
            {
                writer.Line($"var w{v} = {d.LoadFloat("weights", $"{v * d.Lanes}")};");
                for (int r = 0; r < rows; r++)
                {
                    writer.Line($"total{r}_{v} = {d.FusedMultiplyAdd($"value{r}", $"w{v}", $"total{r}_{v}")};");
                }
            }

            if (!lists)
            {
                writer.Line($"weights = ref {Unsafe}.Add(ref weights, outlierStride);");
            }
        }
    }
}
