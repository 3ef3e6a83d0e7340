using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;
using Xunit;
using Xunit.Abstractions;

namespace KernelGen.Inference.Tests.Families;

/// <summary>Every family, in every shape that its config can describe, equals its definition in double precision.</summary>
public sealed class FamilyDefinitionTests(ITestOutputHelper output)
{
    private static readonly Gen<TensorType> Types = Gen.Elements(TensorType.F32, TensorType.F16, TensorType.BF16);

    private static readonly Gen<bool> Flags = Gen.Elements(true, false);

    [Property(MaxTest = 40)]
    public Property Bloom() => EqualsDefinition(
        from heads in Gen.Elements(1, 3, 4, 6)
        from replacing in Flags
        from old in Flags
        from tied in Flags
        from prefix in Flags
        from type in Types
        select (FamilyVariant)new BloomVariant { Heads = heads, Replacing = replacing, OldKeys = old, Tied = tied, HasPrefix = prefix, Type = type });

    [Property(MaxTest = 40)]
    public Property Gpt2() => EqualsDefinition(
        from heads in Gen.Choose(1, 4)
        from activation in Gen.Elements("gelu_new", "relu")
        from inner in Gen.Elements(0, 37)
        from scaled in Flags
        from byLayer in Flags
        from tied in Flags
        from prefix in Flags
        from type in Types
        select (FamilyVariant)new Gpt2Variant
        {
            Heads = heads,
            Activation = activation,
            FeedForward = inner,
            Scaled = scaled,
            ScaledByLayer = byLayer,
            Tied = tied,
            HasPrefix = prefix,
            Type = type,
        });

    [Property(MaxTest = 40)]
    public Property GptNeoX() => EqualsDefinition(
        from heads in Gen.Choose(1, 4)
        from turned in Gen.Elements(2, 4, 6)
        from parallel in Flags
        from bias in Flags
        from old in Flags
        from tied in Flags
        from prefix in Flags
        from type in Types
        select (FamilyVariant)new GptNeoXVariant
        {
            Heads = heads,
            Turned = turned,
            Parallel = parallel,
            AttentionBias = bias,
            OldKeys = old,
            Tied = tied,
            HasPrefix = prefix,
            Type = type,
        });

    [Property(MaxTest = 80)]
    public Property Llama_Mistral_and_Qwen2() => EqualsDefinition(
        from model in Gen.Elements("llama", "mistral", "qwen2")
        from heads in Gen.Elements((4, 4), (4, 2), (4, 1), (3, 3), (6, 2))
        from headSize in Gen.Elements(6, 20)
        from window in Gen.Elements(0, 1, 5, 100)
        from rope in Gen.Elements("default", "linear", "dynamic", "llama3")
        from attentionBias in Flags
        from mlpBias in Flags
        from old in Flags
        from tied in Flags
        from prefix in Flags
        from type in Types
        select (FamilyVariant)new LlamaVariant
        {
            ModelType = model,
            Heads = heads.Item1,
            KeyValueHeads = heads.Item2,
            HeadSize = headSize,
            Window = model == "llama" ? 0 : window,
            Rope = rope,
            AttentionBias = attentionBias,
            MlpBias = mlpBias,
            OldKeys = old,
            Tied = tied,
            HasPrefix = prefix,
            Type = type,
        });

    /// <summary>
    /// The recorded logits of this one are 1e-3 away, because the model that computed them had been cast to halves and back, its
    /// frequencies with it, which a checkpoint does not store. With such frequencies the definition gives what was recorded.
    /// </summary>
    [SkippableFact]
    public void The_shared_llama_equals_its_definition_and_the_recorded_logits_one_with_rounded_frequencies()
    {
        const string Name = "families/llama-gqa";
        int[] ids = TransformerTestModels.GoldenIds(Name, "input_ids")[..40];
        TransformerModel model = TransformerTestModels.Model(Name);
        float[] actual = TransformerTestModels.Logits(model, model.Forward(ids, model.CreateCache(40)));
        float[] golden = TransformerTestModels.GoldenSingles(Name, "logits")[..actual.Length];
        double ours = Difference(actual, frequency => frequency);
        double recorded = Difference(golden, frequency => (double)(Half)frequency);
        output.WriteLine($"from the definition: ours {ours}, recorded {recorded}");
        Assert.InRange(ours, 0, 1e-5);
        Assert.InRange(recorded, 0, 1e-5);

        double Difference(float[] logits, Func<double, double> round)
        {
            double[] frequencies = [.. Enumerable.Range(0, 8).Select(i => round(Math.Pow(10_000, -2.0 * i / 16)))];
            DefinitionTensors tensors = DefinitionTensors.Read(TransformerTestModels.Folder(Name));
            return LlamaVariant.Logits(tensors, ids, "model.", 16, frequencies, 1e-6, _ => int.MaxValue, tied: false)
                .SelectMany(row => row).Zip(logits, (e, a) => Math.Abs(e - a)).Max();
        }
    }

    private static Property EqualsDefinition(Gen<FamilyVariant> variants) => Prop.ForAll(
        variants.ToArbitrary(), Gen.Choose(1, FamilyVariant.Context).ToArbitrary(), Gen.Choose(0, 1_000_000).ToArbitrary(), (variant, count, seed) =>
        {
            using TemporaryFolder folder = new();
            DefinitionTensors tensors = variant.CreateTensors(seed);
            tensors.Write(folder.Root, variant.Config);
            Random random = new(seed);
            int[] ids = [.. Enumerable.Range(0, count).Select(_ => random.Next(FamilyVariant.Vocabulary))];
            using TransformerModel model = TransformerModel.Load(folder.Root);
            float[] prefill = model.Forward(ids, model.CreateCache(count));
            float[] actual = TransformerTestModels.Logits(model, prefill);
            double[] expected = [.. variant.Logits(tensors, ids).SelectMany(row => row)];
            double scale = 1 + expected.Max(Math.Abs);
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.True(Math.Abs(actual[i] - expected[i]) <= 1e-4 * scale, $"{i}: {actual[i]} instead of {expected[i]}");
            }

            // Token by token, from the cache: the same bits.
            KeyValueCache cache = model.CreateCache(count);
            Assert.Equal(prefill, ids.SelectMany(id => model.Forward([id], cache)));
        });
}
