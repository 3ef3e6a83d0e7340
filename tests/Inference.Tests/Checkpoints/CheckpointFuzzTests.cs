using System.Diagnostics;
using System.Text;
using KernelGen.Inference.Checkpoints;
using KernelGen.Tests;
using Xunit;
using Xunit.Abstractions;

namespace KernelGen.Inference.Tests.Checkpoints;

/// <summary>Mutated headers, indexes and configs, with a fixed seed: each opens or is refused, quickly and in little memory.</summary>
public sealed class CheckpointFuzzTests(ITestOutputHelper output)
{
    /// <summary>What one small damaged file may cost beyond its own size.</summary>
    private const long MostAllocated = 8 << 20;

    private const string Header = """
        {"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[4,3],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[3],"data_offsets":[24,36]},
        "q":{"dtype":"I8","shape":[2,2],"data_offsets":[36,40]},"s":{"dtype":"BF16","shape":[],"data_offsets":[40,42]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[42,42]}}
        """;

    [Fact]
    public void Mutated_headers_open_or_are_refused()
    {
        JsonMutator mutator = new(seed: 20260101);
        using TemporaryFolder folder = new();
        byte[] header = Encoding.UTF8.GetBytes(Header);
        byte[] values = new byte[42];
        string path = folder.At("model.safetensors");
        Run(60_000, path, () =>
        {
            byte[] mutated = mutator.Mutate(header);
            ulong? claimed = mutator.Next(8) == 0 ? (ulong)mutator.Next(600) << mutator.Next(60) : null;
            byte[] file = SafetensorsBytes.File(mutated, values.AsSpan(0, mutator.Next(16) == 0 ? mutator.Next(42) : 42).ToArray(), claimed);
            folder.Write("model.safetensors", file);
        });
    }

    [Fact]
    public void Mutated_indexes_open_or_are_refused()
    {
        JsonMutator mutator = new(seed: 20260102);
        using TemporaryFolder folder = new();
        folder.Write("one.safetensors", SafetensorsBytes.Ones("a", "b"));
        folder.Write("two.safetensors", SafetensorsBytes.Ones("c"));
        byte[] index = """{"metadata":{"total_size":24},"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}}"""u8.ToArray();
        Run(40_000, folder.Root, () => folder.Write("model.safetensors.index.json", mutator.Mutate(index)));
    }

    [Fact]
    public void Mutated_configs_are_read_or_refused()
    {
        JsonMutator mutator = new(seed: 20260103);
        using TemporaryFolder folder = new();
        byte[] config = """{"architectures":["OPTForCausalLM"],"hidden_size":128,"dropout":0.5,"tie":true,"eos":[2,3],"rope":{"factor":8.0}}"""u8.ToArray();
        (int accepted, int refused) = (0, 0);
        for (int i = 0; i < 40_000; i++)
        {
            string path = folder.Write("config.json", mutator.Mutate(config));
            try
            {
                ConfigReader reader = ConfigReader.Open(path);
                _ = (reader.GetStrings("architectures"), reader.GetSize("hidden_size"), reader.GetSingle("dropout"), reader.GetBoolean("tie"),
                    reader.GetInt32List("eos"), reader.GetObject("rope")?.GetSingle("factor", 1));
                accepted++;
            }
            catch (CheckpointException)
            {
                refused++;
            }
        }

        output.WriteLine($"{accepted} accepted, {refused} refused");
        Assert.True(accepted > 100 && refused > 100, "the mutations all end the same way");
    }

    private void Run(int rounds, string path, Action write)
    {
        (int accepted, int refused, int slow) = (0, 0, 0);
        for (int i = 0; i < rounds; i++)
        {
            write();
            long before = GC.GetAllocatedBytesForCurrentThread();
            long started = Stopwatch.GetTimestamp();
            try
            {
                using Checkpoint checkpoint = Checkpoint.Open(path);
                foreach (string name in checkpoint.Tensors.Keys)
                {
                    Touch(checkpoint, name);
                }

                accepted++;
            }
            catch (CheckpointException exception)
            {
                Assert.True(exception.Message.Length < 2_000, exception.Message);
                refused++;
            }

            Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < MostAllocated, $"round {i} allocated too much");
            TimeSpan elapsed = Stopwatch.GetElapsedTime(started);
            Assert.True(elapsed < TimeSpan.FromSeconds(20), $"round {i} hangs");
            slow += elapsed > TimeSpan.FromSeconds(1) ? 1 : 0;
        }

        output.WriteLine($"{accepted} accepted, {refused} refused");

        // Other tests share processors and disk and may hold up a round or two; an input that takes long does so in more of them.
        Assert.True(slow <= 3, $"{slow} rounds took over 1 s");
        Assert.True(accepted > 100 && refused > 100, "the mutations all end the same way");
    }

    private static void Touch(Checkpoint checkpoint, string name)
    {
        MappedTensor tensor = checkpoint.Get(name);
        ReadOnlySpan<byte> bytes = tensor.Span<byte>();
        Assert.Equal(tensor.Info.ByteLength, bytes.Length);
        Assert.True(bytes.SequenceEqual(File.ReadAllBytes(tensor.Info.File).AsSpan((int)tensor.Info.Offset, bytes.Length)), $"{name} is not what the file has there");
        if (tensor.Info.Type is TensorType.F32 or TensorType.F16 or TensorType.BF16)
        {
            Assert.Equal(tensor.Info.ElementCount, checkpoint.ReadSingles(name).Length);
        }
    }
}
