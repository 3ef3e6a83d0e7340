using KernelGen.Decoder.Gpu.Serving;
using KernelGen.Inference.Devices;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Serving;
using KernelGen.Inference.Tokenization;

namespace KernelGen.Decoder.Gpu;

/// <summary>With outliers decided per element, a text is the same alone and among others that join and leave.</summary>
internal sealed class ScheduleChecks(DecoderSuite suite)
{
    private const int Schedules = 200, Texts = 12, Batch = 8;

    public async Task RunAsync()
    {
        string name = suite.Trained[^1];
        int[] tokens = Tokenizer.Load(suite.Folder(name)).Encode(File.ReadAllText(Path.Combine(suite.Folder(name), "text.txt")));
        using DeviceModel model = suite.Load(
            name, QuantizationScheme.Parse("llm-int8-elements"), new DeviceOptions { MaxBatch = Batch, MaxContext = 256, PrefillChunk = 48 });
        Logits(model, tokens);
        (int[] Prompt, GenerationOptions Options, int[] Alone)[] texts = new (int[], GenerationOptions, int[])[Texts];
        await using GenerationEngine engine = model.StartEngine();
        for (int i = 0; i < Texts; i++)
        {
            Random random = new(i);
            int first = random.Next(tokens.Length - 200), length = 1 + random.Next(120);
            GenerationOptions options = new() { MaxNewTokens = 20 + random.Next(40), Temperature = i % 3 == 0 ? 0.9f : 0, TopP = i % 2 == 0 ? 1 : 0.9f, Seed = i };
            int[] prompt = tokens[first..(first + length)];
            texts[i] = (prompt, options, await ReadAsync(engine, prompt, options, 0, int.MaxValue));
        }

        int compared = 0, different = 0;
        for (int schedule = 0; schedule < Schedules; schedule++)
        {
            Random random = new(1000 + schedule);
            Task[] running = [.. Enumerable.Range(0, 3 + random.Next(Texts)).Select(_ =>
            {
                (int[] prompt, GenerationOptions options, int[] alone) = texts[random.Next(Texts)];
                int delay = random.Next(25), most = random.Next(4) == 0 ? 1 + random.Next(options.MaxNewTokens) : int.MaxValue;
                return Task.Run(async () =>
                {
                    int[] got = await ReadAsync(engine, prompt, options, delay, most);
                    _ = Interlocked.Increment(ref compared);
                    if (!got.AsSpan().SequenceEqual(alone.AsSpan(0, got.Length)))
                    {
                        _ = Interlocked.Increment(ref different);
                    }
                });
            })];
            await Task.WhenAll(running);
        }

        suite.Expect(different == 0, $"{name}: {different} of {compared} texts in {Schedules} random schedules differ from the text alone");
    }

    /// <summary>Logits of one text alone, and of the same text among others, bit for bit.</summary>
    private void Logits(DeviceModel model, int[] tokens)
    {
        int[][] prompts = [.. Enumerable.Range(0, 7).Select(i => tokens[(300 * i)..((300 * i) + 20 + (13 * i))])];
        int vocabulary = model.Description.VocabularySize, steps = 24, different = 0;
        SteppedTexts together = new(model, prompts);
        List<float[]> all = [.. Enumerable.Range(0, steps).Select(_ => together.Step())];
        for (int i = 0; i < prompts.Length; i++)
        {
            SteppedTexts alone = new(model, [prompts[i]]);
            for (int step = 0; step < steps; step++)
            {
                ReadOnlySpan<byte> one = System.Runtime.InteropServices.MemoryMarshal.AsBytes(alone.Step().AsSpan());
                ReadOnlySpan<byte> among = System.Runtime.InteropServices.MemoryMarshal.AsBytes(all[step].AsSpan(i * vocabulary, vocabulary));
                different += one.SequenceEqual(among) ? 0 : 1;
            }
        }

        suite.Expect(different == 0, $"logits of {different} of {prompts.Length * steps} steps differ in a bit between a text alone and among {prompts.Length}");
    }

    private static async Task<int[]> ReadAsync(GenerationEngine engine, int[] prompt, GenerationOptions options, int delay, int most)
    {
        await Task.Delay(delay);
        List<int> tokens = [];
        await foreach (int token in engine.GenerateAsync(prompt, options))
        {
            tokens.Add(token);
            if (tokens.Count >= most)
            {
                break;
            }
        }

        return [.. tokens];
    }
}
