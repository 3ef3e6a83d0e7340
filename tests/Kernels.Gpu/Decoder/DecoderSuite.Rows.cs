using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <content>Embedding, norms, gates.</content>
internal sealed partial class DecoderSuite
{
    private void Embeddings()
    {
        const int Vocabulary = 50, PositionRows = 40, Width = 264;
        uint[] tokens = [3, 49, 0, 7, 50, 12], positions = [0, 37, 5, DecoderRow.Inactive, 2, 38];
        foreach (ElementFormat format in Enum.GetValues<ElementFormat>())
        {
            foreach (bool hasTokens in new[] { true, false })
            {
                foreach (ElementFormat output in new[] { ElementFormat.Float32, ElementFormat.Float16 })
                {
                    using DeviceData data = new(context, stream);
                    Random random = new(1);
                    ulong tokenTable = data.Upload(DeviceData.Random(random, Vocabulary * Width, 2), format, out float[] tokenValues);
                    ulong positionTable = data.Upload(DeviceData.Random(random, PositionRows * Width, 1), format, out float[] positionValues);
                    ulong target = data.Upload(DeviceData.Random(random, tokens.Length * Width, 3), output, out float[] before);
                    kernels.Embed(
                        stream, tokens.Length, hasTokens ? data.Upload(tokens) : 0, data.Upload(positions), new(tokenTable, format, Width), Vocabulary, new(positionTable, format, Width), PositionRows, 2, 1.5f, Width, new(target, output, Width));
                    float[] got = output == ElementFormat.Float32 ? data.Read<float>(target, before.Length) : data.ReadHalves(target, before.Length);
                    double[] want = new double[got.Length];
                    for (int i = 0; i < want.Length; i++)
                    {
                        int row = i / Width, column = i % Width;
                        bool active = positions[row] != DecoderRow.Inactive;
                        float x = !active ? 0 : !hasTokens ? before[i] : tokens[row] < Vocabulary ? tokenValues[((int)tokens[row] * Width) + column] * 1.5f : 0;
                        x += active && positions[row] + 2 < PositionRows ? positionValues[(((int)positions[row] + 2) * Width) + column] : 0;
                        want[i] = output == ElementFormat.Float32 ? x : (float)(Half)x;
                    }

                    Compare($"embedding {format} to {output}, tokens {hasTokens}", got, want, _ => 0);
                }
            }
        }
    }

    private void Norms(bool briefly)
    {
        foreach (int width in briefly ? new[] { 136 } : new[] { 8, 64, 136, 512, 4096, 9000, 16384 })
        {
            foreach (CudaNorm norm in Enum.GetValues<CudaNorm>())
            {
                NormsAgree(norm, width, adds: 0, replace: false, affine: true);
                NormsAgree(norm, width, adds: 1, replace: false, affine: true);
                NormsAgree(norm, width, adds: 2, replace: true, affine: width % 3 == 0);
            }

            foreach (Int8KernelSet set in CudaSpecs.All.Where(set => set.Spec.Granularity != QuantizationGranularity.Tensor))
            {
                QuantizedNormsAgree(set, width, 5);
                QuantizedNormsAgree(set, width, 1);
            }
        }
    }

    private void NormsAgree(CudaNorm norm, int width, int adds, bool replace, bool affine)
    {
        const int Rows = 3;
        affine &= norm != CudaNorm.None;
        using DeviceData data = new(context, stream);
        Random random = new(width + adds);
        float[] stream32 = DeviceData.Random(random, Rows * width, 3);
        stream32[5] = 90;
        float[] weights = DeviceData.Random(random, width, 2), biases = DeviceData.Random(random, width, 1);
        ulong residual = data.Upload(stream32), output = data.Allocate(Rows * width * 2);
        ulong first = data.Upload(DeviceData.Random(random, Rows * width, 1), ElementFormat.Float16, out float[] firstValues);
        ulong second = data.Upload(DeviceData.Random(random, Rows * width, 1), ElementFormat.Float16, out float[] secondValues);
        ulong positions = data.Upload<uint>([4, DecoderRow.Inactive, 0]);
        kernels.Norm(
            stream, norm, Rows, width, residual, Half16(adds > 0 ? first : 0, width), Half16(adds > 1 ? second : 0, width), affine ? data.Upload(weights) : 0, affine ? data.Upload(biases) : 0, 1e-5f, Half16(output, width), positions, null, replace);
        float[] got = data.ReadHalves(output, Rows * width), after = data.Read<float>(residual, Rows * width);
        double[] want = new double[Rows * width], wantResidual = new double[Rows * width];
        for (int row = 0; row < Rows; row++)
        {
            double[] x = new double[width];
            for (int i = 0; i < width; i++)
            {
                int at = (row * width) + i;
                float sum = stream32[at];
                sum += adds > 0 ? firstValues[at] : 0;
                sum += adds > 1 ? secondValues[at] : 0;
                x[i] = sum;
            }

            double mean = norm == CudaNorm.Layer ? x.Average() : 0;
            double factor = norm == CudaNorm.None ? 1 : 1 / Math.Sqrt(x.Select(value => (value - mean) * (value - mean)).Average() + 1e-5f);
            for (int i = 0; i < width; i++)
            {
                int at = (row * width) + i;
                double y = ((x[i] - mean) * factor * (affine ? weights[i] : 1)) + (affine ? biases[i] : 0);
                want[at] = row == 1 ? 0 : y;
                wantResidual[at] = row == 1 ? stream32[at] : replace ? y : x[i];
            }
        }

        string what = $"{norm} norm of {width}, {adds} added, affine {affine}";
        Compare(what, got, want, i => Half16(want[i]) + 2e-6);
        Compare(what + ": residual stream", after, wantResidual, i => replace ? 1e-5 + (1e-5 * Math.Abs(wantResidual[i])) : 0);
    }

    /// <summary>A norm that quantizes leaves what the norm and then the quantization kernels do.</summary>
    private void QuantizedNormsAgree(Int8KernelSet set, int width, int rows)
    {
        using DeviceData data = new(context, stream);
        Random random = new(width + rows);
        float[] values = DeviceData.Random(random, rows * width, 3);
        for (int i = 0; i < values.Length; i++)
        {
            values[i] *= i % width % 37 == 5 && random.Next(3) == 0 ? 20 : 1;
        }

        if (rows > 3)
        {
            values[(2 * width) + 3] = float.NaN;
            values.AsSpan(3 * width, width).Clear();
        }

        using CudaInt8MatMul matMul = new(context, set.Spec, set.CudaVariants);
        using CudaMatMulWorkspace fused = new(context, stream), apart = new(context, stream);
        using CudaCase layer = new(context, stream, set, 1, 16, width, ElementFormat.Float16, seed: 5);
        CudaInt8Weights weights = layer.OnDevice;
        CudaKernelVariant gemm = matMul.Choose(rows, 16, width, ElementFormat.Float16);
        CudaInt8MatMul.Reserve(fused, gemm, rows, weights);
        CudaInt8MatMul.Reserve(apart, gemm, rows, weights);
        ulong output = data.Allocate(rows * width * 2), residual = data.Upload(values);
        CudaMatrix rounded = Half16(output, width);
        bool done = kernels.Norm(stream, CudaNorm.None, rows, width, residual, default, default, 0, 0, 0, rounded, 0, matMul.QuantizeTarget(fused, rows, weights));
        Expect(done == (set.Spec.Outliers != OutlierPolicy.Columns || rows == 1), $"{set.Name}: quantized is {done} for {rows} rows");
        if (!done)
        {
            matMul.QuantizeActivations(fused, rounded, rows, weights, marked: true);
        }

        matMul.QuantizeActivations(apart, rounded, rows, weights);
        string what = $"{set.Name}, {rows} rows of {width}, quantized by the norm: ";
        int padded = weights.KPadded;
        Same(what + "values", data.Read<sbyte>(fused.Quantized, rows * padded), data.Read<sbyte>(apart.Quantized, rows * padded));
        Same(what + "steps", data.Read<int>(fused.RowSteps, rows), data.Read<int>(apart.RowSteps, rows));
        if (set.Spec.Activations == ActivationQuantization.ZeroPoint)
        {
            Same(what + "zero-points", data.Read<int>(fused.RowZeros, rows), data.Read<int>(apart.RowZeros, rows));
        }

        Same(what + "mask", data.Read<uint>(fused.OutlierMask, padded / 32), data.Read<uint>(apart.OutlierMask, padded / 32));
    }

    private void Same<T>(string what, T[] got, T[] want)
        where T : unmanaged, IEquatable<T>
    {
        int wrong = Enumerable.Range(0, want.Length).FirstOrDefault(i => !got[i].Equals(want[i]), -1);
        Expect(wrong < 0, $"{what}: [{wrong}] of {want.Length} is {(wrong < 0 ? default : got[wrong])}, expected {(wrong < 0 ? default : want[wrong])}");
    }

    private void Gates()
    {
        const int Rows = 3;
        foreach (int width in new[] { 176, 1032, 11008 })
        {
            foreach (Activation activation in Enum.GetValues<Activation>())
            {
                foreach (bool hasUp in new[] { true, false })
                {
                    using DeviceData data = new(context, stream);
                    ulong both = data.Upload(DeviceData.Random(new Random(width), Rows * width * 2, 6), ElementFormat.Float16, out float[] values);
                    ulong output = data.Allocate(Rows * width * 2);
                    kernels.Gate(stream, activation, Rows, width, Half16(both, 2 * width), Half16(hasUp ? both + (ulong)(width * 2) : 0, 2 * width), Half16(output, width));
                    double[] want = new double[Rows * width];
                    for (int i = 0; i < want.Length; i++)
                    {
                        int at = (i / width * 2 * width) + (i % width);
                        want[i] = (double)Curves.Apply(values[at], activation) * (hasUp ? values[at + width] : 1);
                    }

                    Compare($"gate of {width}, {activation}, up {hasUp}", data.ReadHalves(output, want.Length), want, i => Half16(want[i]) + 6e-8);
                }
            }

            QuantizedGateAgrees(width);
        }
    }

    private void QuantizedGateAgrees(int width)
    {
        const int Rows = 4;
        Int8KernelSet set = Specs.LlmInt8Elements.Kernels;
        using DeviceData data = new(context, stream);
        using CudaInt8MatMul matMul = new(context, set.Spec, set.CudaVariants);
        using CudaMatMulWorkspace fused = new(context, stream), apart = new(context, stream);
        using CudaInt8Weights weights = new(context, stream, 16, width);
        CudaKernelVariant gemm = matMul.Choose(Rows, 16, width, ElementFormat.Float16);
        CudaInt8MatMul.Reserve(fused, gemm, Rows, weights);
        CudaInt8MatMul.Reserve(apart, gemm, Rows, weights);
        ulong both = data.Upload(DeviceData.Random(new Random(width), Rows * width * 2, 4), ElementFormat.Float16, out _);
        CudaMatrix output = Half16(data.Allocate(Rows * width * 2), width);
        bool done = kernels.Gate(stream, Activation.Silu, Rows, width, Half16(both, 2 * width), Half16(both + (ulong)(width * 2), 2 * width), output, 0, matMul.QuantizeTarget(fused, Rows, weights));
        matMul.QuantizeActivations(apart, output, Rows, weights);
        Expect(done, "a gate under Elements does not quantize");
        Same($"gate of {width}: values", data.Read<sbyte>(fused.Quantized, Rows * weights.KPadded), data.Read<sbyte>(apart.Quantized, Rows * weights.KPadded));
        Same($"gate of {width}: steps", data.Read<int>(fused.RowSteps, Rows), data.Read<int>(apart.RowSteps, Rows));
        Same($"gate of {width}: mask", data.Read<uint>(fused.OutlierMask, weights.KPadded / 32), data.Read<uint>(apart.OutlierMask, weights.KPadded / 32));
    }
}
