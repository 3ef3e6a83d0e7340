using System.Text.Json;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using KernelGen.Tests;
using Xunit;

namespace KernelGen.Inference.Tests;

/// <summary>The models that the transformer tests run, each loaded once in float32, with what transformers computed for them.</summary>
internal static class TransformerTestModels
{
    private static readonly Dictionary<string, Lazy<TransformerModel>> s_models = [];

    /// <summary>Folder of a model; the test is skipped where it is neither bundled nor shared.</summary>
    public static string Folder(string name)
    {
        string bundled = RepositoryPaths.Model(name);
        string? folder = Directory.Exists(bundled) ? bundled : RepositoryPaths.SharedModel(name);
        Skip.If(folder is null, $"The shared model {name} is not beside this checkout.");
        return folder!;
    }

    public static TransformerModel Model(string name)
    {
        string folder = Folder(name);
        lock (s_models)
        {
            if (!s_models.TryGetValue(name, out Lazy<TransformerModel>? model))
            {
                s_models.Add(name, model = new Lazy<TransformerModel>(() => TransformerModel.Load(folder)));
            }

            return model.Value;
        }
    }

    public static int[] GoldenIds(string name, string tensor)
    {
        using Checkpoint golden = Checkpoint.Open(Path.Combine(Folder(name), "golden.safetensors"));
        return [.. golden.Get(tensor).Span<long>().ToArray().Select(id => (int)id)];
    }

    public static float[] GoldenSingles(string name, string tensor)
    {
        using Checkpoint golden = Checkpoint.Open(Path.Combine(Folder(name), "golden.safetensors"));
        return golden.ReadSingles(tensor);
    }

    /// <summary>The text's token ids as Hugging Face's tokenizer made them.</summary>
    public static int[] TextTokens(string name)
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(Folder(name), "text.tokens.u16"));
        return [.. Enumerable.Range(0, bytes.Length / 2).Select(i => bytes[2 * i] | (bytes[(2 * i) + 1] << 8))];
    }

    public static JsonElement Expected(string name) =>
        JsonDocument.Parse(File.ReadAllText(Path.Combine(Folder(name), "expected.json"))).RootElement;

    /// <summary>Logits of every row of hidden states.</summary>
    public static float[] Logits(TransformerModel model, float[] hidden)
    {
        int rows = hidden.Length / model.Description.TokenEmbedding.Size;
        float[] logits = new float[rows * model.Description.VocabularySize];
        model.ComputeLogits(hidden, rows, logits);
        return logits;
    }

    public static float LargestDifference(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        Assert.Equal(a.Length, b.Length);
        float largest = 0;
        for (int i = 0; i < a.Length; i++)
        {
            float difference = MathF.Abs(a[i] - b[i]);
            largest = difference > largest || float.IsNaN(difference) ? difference : largest;
        }

        return largest;
    }
}
