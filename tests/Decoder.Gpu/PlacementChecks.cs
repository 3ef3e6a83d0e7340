using System.Runtime.InteropServices;
using KernelGen.Decoder.Gpu.Serving;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Decoder.Gpu;

/// <summary>
/// A model whose layers are shared by several contexts, of one GPU or of several, gives the bits of one; with layers on the processor, its results to float16's tolerance.
/// </summary>
internal sealed class PlacementChecks(DecoderSuite suite)
{
    private const float Tolerance = 3e-2f;

    private static readonly DeviceOptions Options = new() { MaxBatch = 3, MaxContext = 128, PrefillChunk = 48, CacheTokens = 3 * 128 };

    private static readonly int[][] Prompts = [[1, 2, 3, 4, 5], [.. Enumerable.Range(7, 70)], [9]];

    public void Run()
    {
        foreach (string name in (string[])[.. DecoderSuite.Families, .. suite.Trained])
        {
            foreach (string scheme in (string[])["fp16", "llm-int8", "llm-int8-elements"])
            {
                Shared(name, QuantizationScheme.Parse(scheme));
            }

            WithProcessor(name);
        }

        Perplexities(suite.Trained[^1]);
    }

    /// <summary>Two GPUs of this machine, where there are two, or two contexts of one.</summary>
    private StageTarget[] Two => CudaDevice.All.Count > 1
        ? [new(CudaDevice.All[0], FreeBytes: 8L << 30), new(CudaDevice.All[1], FreeBytes: 8L << 30)]
        : [new(suite.Device, FreeBytes: 8L << 30), new(suite.Device, OwnContext: true, FreeBytes: 8L << 30)];

    private void Shared(string name, QuantizationScheme scheme)
    {
        float[] alone;
        using (DeviceModel one = suite.Load(name, scheme, Options))
        {
            alone = Logits(one);
        }

        foreach (bool staged in new[] { false, true })
        {
            using DeviceModel model = DeviceModel.Load(suite.Folder(name), Two, scheme, Options with { StagesCopies = staged });
            float[] shared = Logits(model);
            bool same = MemoryMarshal.AsBytes(shared.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(alone.AsSpan()));
            suite.Expect(
                same && model.Placement.Count == 2 && model.CopiesDirectly is { } direct && !(staged && direct),
                $"{name} {scheme.Name}: {Describe(model)}, copies {(model.CopiesDirectly == true ? "direct" : "staged")}: {shared.Length} logits {(same ? "have the bits of" : "DIFFER FROM")} one device");
        }
    }

    /// <summary>Half of the layers fit the GPU, or the two contexts; the rest is the processor's.</summary>
    private void WithProcessor(string name)
    {
        QuantizationScheme scheme = QuantizationScheme.Float16;
        float[] alone;
        long free;
        using (DeviceModel one = suite.Load(name, scheme, Options))
        {
            alone = Logits(one);
            using CheckpointWeights weights = new(suite.Folder(name), one.Description);
            DeviceMemoryPlan half = DeviceMemoryPlan.Of(
                DecoderPlan.Of(one.Description), scheme.RequireCuda(), Options, weights.StoredBytes, new LayerRange(0, one.Description.Layers.Count / 2), isHome: true);
            free = half.TotalBytes + (half.PageBounds(Options).Least * half.PageBytes);
        }

        using DeviceModel model = DeviceModel.Load(suite.Folder(name), (StageTarget[])[new(suite.Device, FreeBytes: free)], scheme, Options with { OffloadsToProcessor = true });
        float[] split = Logits(model);
        float largest = 0;
        for (int i = 0; i < alone.Length; i++)
        {
            largest = Math.Max(largest, Math.Abs(alone[i] - split[i]));
        }

        suite.Expect(
            largest < Tolerance && model.Placement[^1] is { Device: "cpu", Layers: > 0 } && model.Placement[0].Layers == model.Description.Layers.Count / 2,
            $"{name} fp16: {Describe(model)}: logits differ by up to {largest:0.00000} from one device's");
    }

    /// <summary>Perplexity with half of the layers on the processor.</summary>
    private void Perplexities(string name)
    {
        int[] tokens = Tokenizer.Load(suite.Folder(name)).Encode(File.ReadAllText(Path.Combine(suite.Folder(name), "text.txt")));
        DecoderDescription description = ModelFamilies.Describe(ConfigReader.Open(suite.Folder(name)));
        PerplexityOptions windows = new() { Windows = 16 };
        DeviceOptions options = DeviceModel.OptionsForEvaluation(description, windows);
        foreach (string scheme in (string[])["fp16", "llm-int8", "llm-int8-elements"])
        {
            QuantizationScheme parsed = QuantizationScheme.Parse(scheme);
            double alone;
            using (DeviceModel one = suite.Load(name, parsed, options))
            {
                alone = one.Evaluate(tokens, windows).Perplexity;
            }

            using CheckpointWeights weights = new(suite.Folder(name), description);
            DeviceMemoryPlan half = DeviceMemoryPlan.Of(
                DecoderPlan.Of(description), parsed.RequireCuda(), options, weights.StoredBytes, new LayerRange(0, description.Layers.Count / 2), isHome: true);
            long free = half.TotalBytes + (half.PageBounds(options).Least * half.PageBytes);
            using DeviceModel model = DeviceModel.Load(
                suite.Folder(name), (StageTarget[])[new(suite.Device, FreeBytes: free)], parsed, options with { OffloadsToProcessor = true });
            double split = model.Evaluate(tokens, windows).Perplexity;
            suite.Expect(Math.Abs((split / alone) - 1) < 0.0005, $"{name} {scheme}: {Describe(model)}: perplexity {split:0.000000}, one device {alone:0.000000} ({100 * ((split / alone) - 1):+0.0000;-0.0000} %)");
        }
    }

    /// <summary>Logits of steps after prompts in chunks, of three texts and of one: a graph's first run, and its replays.</summary>
    private static float[] Logits(DeviceModel model)
    {
        SteppedTexts texts = new(model, Prompts);
        float[] together = [.. Enumerable.Range(0, 5).SelectMany(step => texts.Step([3 + step, 11, 40 + step]))];
        SteppedTexts alone = new(model, [Prompts[1]]);
        return [.. together, .. Enumerable.Range(0, 5).SelectMany(step => alone.Step([50 + step]))];
    }

    private static string Describe(DeviceModel model) => string.Join(" + ", model.Placement.Select(static part => $"{part.Layers} layers on {part.Device}"));
}
