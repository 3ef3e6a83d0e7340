using System.Collections.Immutable;
using System.Runtime.InteropServices;
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Conversion;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using Xunit;

namespace KernelGen.Inference.Tests.Conversion;

/// <summary>Int8 checkpoints as bitsandbytes saves them, sound and damaged.</summary>
public sealed class Int8LoadingTests : IDisposable
{
    private const string Layer = "model.decoder.layers.1.fc1";

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, string, string> Damages => new()
    {
        { ".SCB", "remove", $"tensor '{Layer}.SCB': it is not among" },
        { ".SCB", "shorten", "its shape is [15], [16] was expected" },
        { ".SCB", "nan", "its value at row 0 is NaN" },
        { ".SCB", "negative", "its value at row 0 is -1" },
        { ".weight_format", "one", "the layout 1 of the int8 weights is not row-major" },
        { ".weight_format", "float", "it is F32 [], one U8 was expected" },
        { ".weight", "shorten", "its shape is [15, 8], [16, 8] was expected" },
        { ".weight", "-128", "the value -128 at row 0, column 0" },
    };

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_bitsandbytes_saves_is_multiplied_with_its_weights(bool withFormat)
    {
        // As save_pretrained lays it out: 16-bit modules beside int8 ones; older versions wrote no format.
        string folder = Rewrite((name, tensor) => !withFormat && name.EndsWith(".weight_format", StringComparison.Ordinal) ? null : tensor);
        using Checkpoint checkpoint = Checkpoint.Open(folder);
        using TransformerModel model = TransformerModel.Load(folder);
        using TransformerModel original = TransformerModel.Load(_folder.At("source"));
        float[] exact = original.Forward([1, 2, 3], original.CreateCache(3)), int8 = model.Forward([1, 2, 3], model.CreateCache(3));
        Assert.InRange(TransformerTestModels.LargestDifference(exact, int8), 1e-6f, 0.05f);
    }

    [Theory]
    [MemberData(nameof(Damages))]
    public void Damage_is_named(string suffix, string how, string expected)
    {
        string folder = Rewrite((name, tensor) => name != Layer + suffix ? tensor : Damage(tensor, how));

        foreach (string scheme in (string[])["llm-int8", "w8a16", "absmax-vector"])
        {
            string message = Assert.Throws<CheckpointException>(() => TransformerModel.Load(folder, QuantizationScheme.Parse(scheme).CreateFactory())).Message;
            Assert.Contains(expected, message);
            Assert.Contains(suffix == ".SCB" && how == "remove" ? folder : "model.safetensors", message);
        }
    }

    [Theory]
    [InlineData("""{"quant_method":"gptq","bits":4}""", "'quantization_config.quant_method' is \"gptq\"")]
    [InlineData("""{"quant_method":"bitsandbytes","load_in_4bit":true,"load_in_8bit":false}""", "4 bits")]
    [InlineData("""{"quant_method":"bitsandbytes","load_in_8bit":1}""", "true or false was expected")]
    [InlineData("7", "an object was expected")]
    public void Other_quantizations_are_refused(string quantization, string expected)
    {
        string source = TinyOpt.Write(_folder);
        _folder.Write("source/config.json", TinyOpt.Config.Replace("\"model_type\"", $"\"quantization_config\":{quantization},\"model_type\"", StringComparison.Ordinal));

        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => TransformerModel.Load(source)).Message);
    }

    private string Rewrite(Func<string, Tensor, Tensor?> change)
    {
        CheckpointConverter.ConvertAsync(TinyOpt.Write(_folder), _folder.At("int8")).GetAwaiter().GetResult();
        Dictionary<string, Tensor> tensors = [];
        using (Checkpoint checkpoint = Checkpoint.Open(_folder.At("int8")))
        {
            foreach ((string name, TensorInfo info) in checkpoint.Tensors)
            {
                if (change(name, new Tensor(info.Type, info.Shape, checkpoint.Get(name).Span<byte>().ToArray())) is { } tensor)
                {
                    tensors.Add(name, tensor);
                }
            }
        }

        using SafetensorsWriter writer = new(
            Path.Combine(_folder.At("int8"), "model.safetensors"), tensors.Select(static entry => (entry.Key, entry.Value.Type, entry.Value.Shape)));
        foreach ((string name, Tensor tensor) in tensors)
        {
            writer.Append(name, tensor.Bytes);
        }

        writer.Complete();
        return _folder.At("int8");
    }

    private static Tensor? Damage(Tensor tensor, string how)
    {
        byte[] bytes = tensor.Bytes;
        switch (how)
        {
            case "remove":
                return null;
            case "shorten":
                long row = bytes.Length / tensor.Shape[0];
                return tensor with { Shape = tensor.Shape.SetItem(0, tensor.Shape[0] - 1), Bytes = bytes[..^(int)row] };
            case "nan":
                MemoryMarshal.Cast<byte, float>(bytes.AsSpan())[0] = float.NaN;
                return tensor;
            case "negative":
                MemoryMarshal.Cast<byte, float>(bytes.AsSpan())[0] = -1;
                return tensor;
            case "one":
                return tensor with { Bytes = [1] };
            case "float":
                return tensor with { Type = TensorType.F32, Bytes = [0, 0, 0, 0] };
            default:
                bytes[0] = 0x80;
                return tensor;
        }
    }

    private sealed record Tensor(TensorType Type, ImmutableArray<long> Shape, byte[] Bytes);
}
