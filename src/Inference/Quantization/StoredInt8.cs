using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Quantization;

/// <summary>What an int8 checkpoint holds for a linear layer beside its int8 weights.</summary>
public sealed class StoredInt8
{
    private StoredInt8(float[] absmax, int[]? outlierColumns, MappedTensor? outlierWeights)
    {
        Absmax = absmax;
        OutlierColumns = outlierColumns;
        OutlierWeights = outlierWeights;
    }

    /// <summary>The absmax of every output feature, bitsandbytes' <c>SCB</c>: [N].</summary>
    public IReadOnlyList<float> Absmax { get; }

    /// <summary>The calibrated outlier columns, ascending; null if the checkpoint was converted without.</summary>
    public IReadOnlyList<int>? OutlierColumns { get; }

    /// <summary>The original weights of <see cref="OutlierColumns"/>, [C,N]; null with it.</summary>
    public MappedTensor? OutlierWeights { get; }

    /// <summary>Reads and checks a layer's statistics.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="layer">The layer's full name.</param>
    /// <param name="outputFeatures">N.</param>
    /// <param name="inputFeatures">K.</param>
    /// <exception cref="CheckpointException">A tensor is missing, or of the wrong shape, type, layout or content.</exception>
    internal static StoredInt8 Read(Checkpoint checkpoint, string layer, int outputFeatures, int inputFeatures)
    {
        RequireRowMajor(checkpoint, layer + Int8TensorNames.Format);
        float[] absmax = checkpoint.ReadSingles(layer + Int8TensorNames.Absmax, outputFeatures);
        for (int n = 0; n < absmax.Length; n++)
        {
            if (!float.IsFinite(absmax[n]) || absmax[n] < 0)
            {
                throw CheckpointException.For(
                    checkpoint.Get(layer + Int8TensorNames.Absmax).Info.File,
                    layer + Int8TensorNames.Absmax,
                    $"its value at row {n} is {absmax[n]}, a finite absmax was expected.",
                    "The checkpoint is damaged: download or convert it again.");
            }
        }

        if (!checkpoint.Contains(layer + Int8TensorNames.OutlierColumns))
        {
            return new StoredInt8(absmax, null, null);
        }

        int[] columns = ReadColumns(checkpoint.Get(layer + Int8TensorNames.OutlierColumns), inputFeatures);
        MappedTensor weights = checkpoint.Get(layer + Int8TensorNames.OutlierWeights);
        weights.RequireFloatingPoint();
        return weights.Info.Shape.AsSpan().SequenceEqual([columns.Length, outputFeatures])
            ? new StoredInt8(absmax, columns, weights)
            : throw CheckpointException.For(
                weights.Info.File,
                weights.Info.Name,
                $"its shape is {weights.Info.ShapeText}, [{columns.Length}, {outputFeatures}] was expected.",
                "The checkpoint is damaged: convert it again.");
    }

    private static int[] ReadColumns(MappedTensor tensor, int inputFeatures)
    {
        int[] columns = tensor.Span<int>().ToArray();
        for (int i = 0; i < columns.Length; i++)
        {
            if (columns[i] < 0 || columns[i] >= inputFeatures || (i > 0 && columns[i] <= columns[i - 1]))
            {
                throw CheckpointException.For(
                    tensor.Info.File,
                    tensor.Info.Name,
                    $"its value {columns[i]} at {i} is not an ascending column from 0 to {inputFeatures - 1}.",
                    "The checkpoint is damaged: convert it again.");
            }
        }

        return columns;
    }

    private static void RequireRowMajor(Checkpoint checkpoint, string name)
    {
        // Versions that wrote no format knew row-major only.
        if (!checkpoint.Contains(name))
        {
            return;
        }

        TensorInfo info = checkpoint.Get(name).Info;
        byte? format = info is { Type: TensorType.U8, ElementCount: 1 } ? checkpoint.Get(name).Span<byte>()[0] : null;
        if (format != Int8TensorNames.RowMajor)
        {
            throw CheckpointException.For(
                info.File,
                name,
                format is null ? $"it is {info.Type.HeaderName()} {info.ShapeText}, one U8 was expected." : $"the layout {format} of the int8 weights is not row-major (0).",
                "Load it with the version of bitsandbytes that wrote it, and save it again with one from 0.45 on.");
        }
    }
}
