using System.Text.Json;
using KernelGen.Decoder.Gpu.Serving;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Decoder.Gpu;

/// <summary>Logits and greedy texts that transformers computed in float32.</summary>
internal sealed class GoldenChecks(DecoderSuite suite)
{
    private const float Tolerance = 3e-2f;

    /// <summary>A difference of two logits below which float16 arithmetic may choose either token.</summary>
    private const float NearTie = 2e-2f;

    public void Run()
    {
        foreach (string name in DecoderSuite.Families)
        {
            Family(name);
        }

        foreach (string name in suite.Trained)
        {
            foreach (string scheme in (string[])["fp16", "llm-int8"])
            {
                Greedy(name, QuantizationScheme.Parse(scheme));
            }
        }
    }

    private void Family(string name)
    {
        using Checkpoint golden = Checkpoint.Open(Path.Combine(suite.Folder(name), "golden.safetensors"));
        int[] ids = Ids(golden, "input_ids"), greedy = Ids(golden, "greedy_ids");
        float[] expected = golden.ReadSingles("logits");
        const int Sequences = 2, Length = 40, Prompt = 8, Forced = 20;
        using DeviceModel model = suite.Load(
            name, QuantizationScheme.Float16, new DeviceOptions { MaxBatch = Sequences, MaxContext = 128, RowsAtOnce = ids.Length, CacheTokens = 4 * 64, PrefillChunk = 16 });
        int vocabulary = model.Description.VocabularySize;

        // Whole sequences at once.
        float[] logits = new float[expected.Length];
        model.Windows.Run(ids, Sequences, default);
        model.Windows.ComputeLogits(0, ids.Length, logits);
        float prefill = Largest(logits, expected);

        // In chunks of 16, then token by token with the cache.
        SteppedTexts texts = new(model, [ids[..Forced], ids[Length..(Length + Forced)]]);
        float decode = 0;
        for (int position = Forced; position < Length; position++)
        {
            float[] step = texts.Step([ids[position], ids[Length + position]]);
            for (int i = 0; i < Sequences; i++)
            {
                decode = Math.Max(decode, Largest(
                    step.AsSpan(i * vocabulary, vocabulary), expected.AsSpan(((i * Length) + position) * vocabulary, vocabulary)));
            }
        }

        int[] text = new SteppedTexts(model, [greedy[..Prompt]]).Generate(greedy.Length - Prompt)[0];
        suite.Expect(
            prefill < Tolerance && decode < Tolerance,
            $"{name}: logits differ by up to {prefill:0.00000} in a prompt, {decode:0.00000} token by token; the largest is {expected.Max(Math.Abs):0.0}");
        CompareText(name, "fp16", greedy[..Prompt], greedy[Prompt..], text);
    }

    private void Greedy(string name, QuantizationScheme scheme)
    {
        string folder = suite.Folder(name);
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json")));
        int[] tokens = Tokenizer.Load(folder).Encode(File.ReadAllText(Path.Combine(folder, "text.txt")));
        int offset = expected.RootElement.GetProperty("greedy_prompt_offset").GetInt32(), length = expected.RootElement.GetProperty("greedy_prompt_len").GetInt32();
        int[] wanted = [.. expected.RootElement.GetProperty("greedy").EnumerateArray().Select(static id => id.GetInt32())];
        int[] prompt = tokens[offset..(offset + length)];
        using DeviceModel model = suite.Load(name, scheme, new DeviceOptions { MaxBatch = 1 });
        CompareText(name, scheme.Name, prompt, wanted, new SteppedTexts(model, [prompt]).Generate(wanted.Length)[0]);
    }

    /// <summary>A text is the expected one, or parts from it where the processor's float32 model has two tokens that are nearly as likely.</summary>
    private void CompareText(string name, string scheme, int[] prompt, int[] wanted, int[] got)
    {
        int first = Enumerable.Range(0, wanted.Length).FirstOrDefault(i => wanted[i] != got[i], -1);
        if (first < 0)
        {
            suite.Say($"{name} {scheme}: all {wanted.Length} greedy tokens are those of transformers");
            return;
        }

        using TransformerModel reference = TransformerModel.Load(suite.Folder(name));
        int[] text = [.. prompt, .. wanted[..first]];
        float[] hidden = reference.Forward(text, reference.CreateCache(text.Length)), logits = new float[reference.Description.VocabularySize];
        reference.ComputeLogits(hidden.AsSpan(hidden.Length - reference.Description.TokenEmbedding.Size), 1, logits);
        float gap = logits[wanted[first]] - logits[got[first]];

        // A scheme that rounds weights has a text of its own; float16 does not.
        suite.Expect(
            scheme != "fp16" || gap < NearTie,
            $"{name} {scheme}: greedy token {first} of {wanted.Length} is {got[first]}, transformers has {wanted[first]}; in float32 their logits are {gap:0.0000} apart");
    }

    private static int[] Ids(Checkpoint golden, string name) => [.. golden.Get(name).Span<long>().ToArray().Select(static id => (int)id)];

    private static float Largest(ReadOnlySpan<float> got, ReadOnlySpan<float> expected)
    {
        float largest = 0;
        for (int i = 0; i < got.Length; i++)
        {
            float difference = Math.Abs(got[i] - expected[i]);
            largest = difference > largest || float.IsNaN(difference) ? difference : largest;
        }

        return largest;
    }
}
