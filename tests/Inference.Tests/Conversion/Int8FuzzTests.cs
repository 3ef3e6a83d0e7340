using System.Buffers.Binary;
using System.Diagnostics;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Conversion;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tests.Checkpoints;
using KernelGen.Inference.Transformers;
using KernelGen.Tests;
using Xunit;
using Xunit.Abstractions;

namespace KernelGen.Inference.Tests.Conversion;

/// <summary>
/// Mutated int8 checkpoints and what belongs to a conversion, with a fixed seed: each is used or refused, within a second and 64 MB. With the
/// headers, indexes, configs and tokenizers of the other fuzz tests there are more than 200,000 cases.
/// </summary>
public sealed class Int8FuzzTests(ITestOutputHelper output) : IDisposable
{
    private const long MostAllocated = 64 << 20;

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Mutated_int8_headers_load_or_are_refused()
    {
        byte[] file = await Convert();
        int headerBytes = (int)BinaryPrimitives.ReadUInt64LittleEndian(file);
        byte[] header = file[8..(8 + headerBytes)], values = file[(8 + headerBytes)..];
        JsonMutator mutator = new(seed: 20260201);
        Run(25_000, () => _folder.Write("int8/model.safetensors", SafetensorsBytes.File(mutator.Mutate(header), values)), Load);
    }

    [Fact]
    public async Task Mutated_int8_values_load_or_are_refused()
    {
        byte[] file = await Convert();
        int start = 8 + (int)BinaryPrimitives.ReadUInt64LittleEndian(file);
        JsonMutator mutator = new(seed: 20260202);
        Run(
            10_000,
            () =>
            {
                byte[] mutated = [.. file];
                for (int i = mutator.Next(4); i >= 0; i--)
                {
                    mutated[start + mutator.Next(file.Length - start)] = (byte)(mutator.Next(3) == 0 ? 0x80 : mutator.Next(256));
                }

                _folder.Write("int8/model.safetensors", mutated);
            },
            Load);
    }

    [Fact]
    public async Task Mutated_int8_configs_load_or_are_refused()
    {
        await Convert();
        byte[] config = File.ReadAllBytes(_folder.At("int8/config.json"));
        JsonMutator mutator = new(seed: 20260203);
        Run(20_000, () => _folder.Write("int8/config.json", mutator.Mutate(config)), Load);
    }

    [Fact]
    public async Task Mutated_journals_are_continued_or_refused()
    {
        string source = TinyOpt.Write(_folder), journal = _folder.At("out.partial/journal.json");
        ConversionOptions options = new() { ShardBytes = 1000, MaxDegreeOfParallelism = 1 };
        await CheckpointConverter.ConvertAsync(source, _folder.At("out"), options);
        string[] expected = Contents("out");
        using (CancellationTokenSource stop = new())
        {
            Directory.Delete(_folder.At("out"), recursive: true);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => CheckpointConverter.ConvertAsync(source, _folder.At("out"), options, new Stop(stop, 4), stop.Token));
        }

        byte[] bytes = File.ReadAllBytes(journal);
        Dictionary<string, byte[]> left = Directory.GetFiles(_folder.At("out.partial/files")).ToDictionary(static path => path, File.ReadAllBytes);
        JsonMutator mutator = new(seed: 20260204);
        Run(
            300,
            () =>
            {
                foreach (string folder in (string[])["out", "out.partial"])
                {
                    if (Directory.Exists(_folder.At(folder)))
                    {
                        Directory.Delete(_folder.At(folder), recursive: true);
                    }
                }

                Directory.CreateDirectory(_folder.At("out.partial/files"));
                foreach ((string path, byte[] content) in left)
                {
                    File.WriteAllBytes(path, content);
                }

                File.WriteAllBytes(journal, mutator.Mutate(bytes));
            },
            () =>
            {
                CheckpointConverter.ConvertAsync(source, _folder.At("out"), options).GetAwaiter().GetResult();
                Assert.Equal(expected, Contents("out"));
            },
            least: 10);
    }

    [Fact]
    public void Mutated_outlier_sets_are_read_or_refused()
    {
        byte[] json = """{"model.decoder.layers.0.fc1":[1,2,7],"model.decoder.layers.1.fc2":[],"x":[0]}"""u8.ToArray();
        JsonMutator mutator = new(seed: 20260205);
        Run(10_000, () => _folder.Write("outliers.json", mutator.Mutate(json)), () => _ = FixedOutlierSet.Load(_folder.At("outliers.json")));
    }

    private async Task<byte[]> Convert()
    {
        string layer = TinyOpt.Linear.First();
        FixedOutlierSet outliers = FixedOutlierSet.Load(_folder.Write("set.json", $$"""{"{{layer}}":[2,5]}"""));
        await CheckpointConverter.ConvertAsync(TinyOpt.Write(_folder), _folder.At("int8"), new() { FixedOutliers = outliers });
        return File.ReadAllBytes(_folder.At("int8/model.safetensors"));
    }

    private void Load()
    {
        using TransformerModel model = TransformerModel.Load(
            _folder.At("int8"), QuantizationScheme.Fixed.CreateFactory(maxDegreeOfParallelism: 1), maxDegreeOfParallelism: 1);
        Assert.True(model.Bytes > 0);
    }

    private string[] Contents(string folder) =>
        [.. Directory.GetFiles(_folder.At(folder)).Order(StringComparer.Ordinal).Select(static path => System.Convert.ToHexString(File.ReadAllBytes(path)))];

    private void Run(int rounds, Action write, Action use, int least = 100)
    {
        (int accepted, int refused, int slow) = (0, 0, 0);
        for (int i = 0; i < rounds; i++)
        {
            write();
            long before = GC.GetAllocatedBytesForCurrentThread();
            long started = Stopwatch.GetTimestamp();
            try
            {
                use();
                accepted++;
            }
            catch (Exception exception) when (exception is CheckpointException or FixedOutlierSetException)
            {
                Assert.True(exception.Message.Length < 2_000, exception.Message);
                refused++;
            }

            Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < MostAllocated, $"round {i} allocated too much");

            TimeSpan elapsed = Stopwatch.GetElapsedTime(started);
            Assert.True(elapsed < TimeSpan.FromSeconds(60), $"round {i} hangs");
            slow += elapsed > TimeSpan.FromSeconds(5) ? 1 : 0;
        }

        output.WriteLine($"{accepted} accepted, {refused} refused");

        // Other tests share processors and disk and may hold up a round or two; an input that takes long does so in more of them.
        Assert.True(slow <= 3, $"{slow} rounds took over 5 s");
        Assert.True(accepted >= least && refused >= least, $"{accepted} accepted, {refused} refused: the mutations all end the same way");
    }

    private sealed class Stop(CancellationTokenSource stop, int report) : IProgress<ConversionProgress>
    {
        private int _count;

        public void Report(ConversionProgress value)
        {
            if (Interlocked.Increment(ref _count) == report)
            {
                stop.Cancel();
            }
        }
    }
}
