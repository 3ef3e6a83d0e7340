using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Quantization;

/// <summary>A weight matrix in a memory-mapped checkpoint: what is read stays on disk, so the 16-bit originals of outlier columns cost no memory.</summary>
internal sealed class MappedWeightSource : WeightSource
{
    private readonly MappedTensor _tensor;

    public MappedWeightSource(MappedTensor tensor, int rows, int columns)
        : base(tensor.Info.Name, rows, columns)
    {
        tensor.RequireFloatingPoint();
        _tensor = tensor;
    }

    /// <summary>The weights of a layer as [N,K], whatever their type and whichever way round the checkpoint stores them.</summary>
    public static WeightSource Of(LinearLayerSource source) => source.Int8 is { } stored
        ? new MappedInt8WeightSource(source.Weight, stored, source.OutputFeatures, source.InputFeatures)
        : source.IsTransposed
        ? new TransposedWeightSource(source.Weight, source.OutputFeatures, source.InputFeatures)
        : new MappedWeightSource(source.Weight, source.OutputFeatures, source.InputFeatures);

    /// <summary>The type of a floating-point tensor's values.</summary>
    public static Type ElementTypeOf(MappedTensor tensor) => tensor.Info.Type switch
    {
        TensorType.F32 => typeof(float),
        TensorType.F16 => typeof(Half),
        _ => typeof(BFloat16),
    };

    public override Type ElementType => ElementTypeOf(_tensor);

    public override long Bytes => 0;

    public override void ReadRow(int row, Span<float> destination) => _tensor.CopyTo((long)row * Columns, destination);

    public override void ReadColumn(int column, int firstRow, Span<float> destination)
    {
        for (int i = 0; i < destination.Length; i++)
        {
            _tensor.CopyTo(((long)(firstRow + i) * Columns) + column, destination.Slice(i, 1));
        }
    }
}
