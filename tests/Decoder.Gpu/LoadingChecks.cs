using KernelGen.Backends.Cuda;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Conversion;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using KernelGen.Kernels.Specs;
using KernelGen.Quantization;

namespace KernelGen.Decoder.Gpu;

/// <summary>Weights that the device quantized have the bits of the processor's, and those of an int8 checkpoint are its own.</summary>
internal sealed class LoadingChecks(DecoderSuite suite)
{
    public void Run()
    {
        foreach (string name in DecoderSuite.Families.Concat(suite.Trained))
        {
            Compare(name, suite.Folder(name));
        }

        string int8 = Path.Combine(Path.GetTempPath(), $"kernelgen-int8-{Environment.ProcessId}");
        try
        {
            _ = CheckpointConverter.ConvertAsync(suite.Folder("families/gpt2"), int8).GetAwaiter().GetResult();
            Compare("families/gpt2 in int8", int8);
        }
        finally
        {
            Directory.Delete(int8, recursive: true);
        }

        PlannedMemory();
    }

    private void Compare(string name, string folder)
    {
        Dictionary<string, (sbyte[][] Rows, float[] Absmax)> expected = OnProcessor(folder);
        DecoderDescription description = ModelFamilies.Describe(ConfigReader.Open(folder));
        using CudaContext context = new(suite.Device);
        using CudaStream stream = new(context);
        using CheckpointWeights weights = new(folder, description);
        using CudaWeightLoader loader = new(context, stream, weights);
        int different = 0, rows = 0;
        foreach (MatrixPlan plan in DecoderPlan.Of(description).Matrices)
        {
            using CudaMatrixWeights matrix = loader.Load(plan, new DeviceScheme(LlmInt8.Kernels, IsInt8: true, KeepsOriginals: true));
            CudaInt8Weights int8 = matrix.Int8!;
            sbyte[] values = new sbyte[int8.Quantized.Bytes];
            float[] steps = new float[plan.OutputFeatures];
            int8.Quantized.Download<sbyte>(values, stream);
            int8.Statistics.Download<float>(steps, stream);
            foreach (RowRun run in plan.Runs)
            {
                (sbyte[][] wanted, float[] absmax) = expected.Single(layer => layer.Key.EndsWith(run.Source.Name, StringComparison.Ordinal)).Value;
                for (int i = 0; i < run.Rows; i++, rows++)
                {
                    ReadOnlySpan<sbyte> row = values.AsSpan((run.TargetRow + i) * int8.KPadded, int8.KPadded);
                    bool same = row[..plan.InputFeatures].SequenceEqual(wanted[run.SourceRow + i])
                        && !row[plan.InputFeatures..].ContainsAnyExcept((sbyte)0)
                        && steps[run.TargetRow + i] == AbsmaxScaling.Step(absmax[run.SourceRow + i]);
                    different += same ? 0 : 1;
                }
            }
        }

        suite.Expect(different == 0, $"{name}: {different} of {rows} rows of weights differ from the processor's");
    }

    private static Dictionary<string, (sbyte[][] Rows, float[] Absmax)> OnProcessor(string folder)
    {
        Dictionary<string, (sbyte[][], float[])> layers = [];
        LinearLayerFactory plain = FloatLinear.Factory();
        using TransformerModel model = TransformerModel.Load(folder, source =>
        {
            RowQuantizer quantizer = RowQuantizer.For(MappedWeightSource.Of(source), AbsmaxVector.Kernels.Spec, 1);
            sbyte[][] rows = new sbyte[source.OutputFeatures][];
            float[] absmax = new float[source.OutputFeatures], scratch = new float[source.InputFeatures];
            for (int n = 0; n < rows.Length; n++)
            {
                rows[n] = new sbyte[source.InputFeatures];
                absmax[n] = quantizer.Quantize(n, scratch, rows[n]);
            }

            layers.Add(source.Name, (rows, absmax));
            return plain(source);
        });
        return layers;
    }

    /// <summary>What a model takes of the device is what was planned, and all of it comes back.</summary>
    private void PlannedMemory()
    {
        string name = suite.Trained[^1];
        using CudaContext context = new(suite.Device);
        using (suite.Load(name, QuantizationScheme.Parse("llm-int8"), new DeviceOptions()))
        {
            // Kernels that were loaded once may stay with the context.
        }

        long before = context.Memory().Free;
        using (DeviceModel model = suite.Load(name, QuantizationScheme.Parse("llm-int8"), new DeviceOptions()))
        {
            long taken = before - context.Memory().Free;
            suite.Expect(taken <= model.Memory.TotalBytes, $"{name} takes {taken} bytes of the device, {model.Memory.TotalBytes} were planned");
            suite.Expect(model.Bytes == model.Memory.ParameterBytes, $"parameters take {model.Bytes} bytes, {model.Memory.ParameterBytes} were planned");
        }

        for (int i = 0; i < 5; i++)
        {
            suite.Load(name, QuantizationScheme.Parse("llm-int8"), new DeviceOptions()).Dispose();
        }

        long lost = before - context.Memory().Free;
        suite.Expect(lost < 64 << 20, $"six times loaded and disposed: {lost} bytes are not back");
    }
}
