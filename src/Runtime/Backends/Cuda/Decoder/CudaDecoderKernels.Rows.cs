namespace KernelGen.Backends.Cuda;

/// <content>Embedding, norms and gates: one thread block per row.</content>
internal sealed unsafe partial class CudaDecoderKernels
{
    /// <summary>Queues <c>output = tokenTable[token] * scale + positionTable[position + positionOffset]</c>.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="tokens">u32 [rows]; 0 adds to what <paramref name="output"/> holds (positions after a projection). A token beyond the vocabulary counts as zeros.</param>
    /// <param name="positions">u32 [rows].</param>
    /// <param name="tokenTable">[vocabulary, width]; not read without tokens.</param>
    /// <param name="vocabulary">Its rows.</param>
    /// <param name="positionTable">[positionRows, width], or an address of 0.</param>
    /// <param name="positionRows">Its rows.</param>
    /// <param name="positionOffset">The row of position 0.</param>
    /// <param name="scale">Factor of the token's embedding.</param>
    /// <param name="width">Values per row, a multiple of 8.</param>
    /// <param name="output">[rows, width], f32 for the residual stream or f16. Addresses and rows of all three are aligned to 16 bytes.</param>
    public void Embed(
        CudaStream stream, int rows, ulong tokens, ulong positions, CudaMatrix tokenTable, int vocabulary, CudaMatrix positionTable, int positionRows, int positionOffset, float scale, int width, CudaMatrix output)
    {
        RequireRows(width, output.Format != ElementFormat.BFloat16 ? "" : "an embedding gives f16 or f32, not bf16");
        EmbedArguments arguments = new()
        {
            Tokens = tokens,
            Positions = positions,
            TokenTable = tokenTable.Address,
            PositionTable = positionTable.Address,
            Output = output.Address,
            Width = (uint)width,
            TokenStride = (uint)tokenTable.RowStride,
            PositionStride = (uint)positionTable.RowStride,
            OutputStride = (uint)output.RowStride,
            Vocabulary = (uint)vocabulary,
            PositionOffset = (uint)positionOffset,
            PositionRows = (uint)positionRows,
            TokenFormat = (uint)tokenTable.Format,
            PositionFormat = (uint)positionTable.Format,
            OutputFormat = (uint)output.Format,
            Scale = scale,
        };
        Launch(stream, DecoderKernelNames.Embed(Capability), arguments, rows, RowThreads(width));
    }

    /// <summary>
    /// Queues <c>residual += add + addSecond; output = norm(residual) * weight + bias</c> and, for the multiplication that follows, its quantization.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="norm">The norm; <see cref="CudaNorm.None"/> adds and rounds alone, without weight and bias.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="width">Values per row, a multiple of 8, at most <see cref="MaxWidth"/>.</param>
    /// <param name="residual">f32 [rows, width]; written where something is added or <paramref name="replace"/> is set, and <paramref name="sum"/> is 0.</param>
    /// <param name="add">f16 [rows, width], a branch's result, or an address of 0.</param>
    /// <param name="addSecond">Another one, or an address of 0.</param>
    /// <param name="weight">f32 [width], or 0 for ones.</param>
    /// <param name="bias">f32 [width], or 0.</param>
    /// <param name="epsilon">Added to the variance or mean square.</param>
    /// <param name="output">f16 [rows, width]; an address of 0 where only the quantized rows or the residual stream are wanted.</param>
    /// <param name="positions">u32 [rows]: inactive rows give zeros; 0 where all are active.</param>
    /// <param name="target">Where the rounded rows are quantized, bit for bit as <see cref="CudaInt8MatMul.QuantizeActivations"/> does; or null.</param>
    /// <param name="replace">Whether the normalized row becomes the residual stream (a norm after the addition).</param>
    /// <param name="sum">f32 [rows, width]: receives the residual stream in place of <paramref name="residual"/>; or 0.</param>
    /// <returns>
    /// Whether the rows are quantized. Under <see cref="OutlierPolicy.Columns"/> with more than one row they are only marked:
    /// <see cref="CudaInt8MatMul.QuantizeActivations"/> with <c>marked: true</c> must follow.
    /// </returns>
    public bool Norm(
        CudaStream stream, CudaNorm norm, int rows, int width, ulong residual, CudaMatrix add, CudaMatrix addSecond, ulong weight, ulong bias, float epsilon, CudaMatrix output, ulong positions = 0, CudaQuantizeTarget? target = null, bool replace = false, ulong sum = 0) =>
        Row(stream, gate: false, rows, target, new RowArguments
        {
            Residual = residual,
            Sum = sum != 0 ? sum : residual,
            First = add.Address,
            Second = addSecond.Address,
            Weight = weight,
            Bias = bias,
            Output = output.Address,
            Positions = positions,
            Width = (uint)width,
            FirstStride = (uint)add.RowStride,
            SecondStride = (uint)addSecond.RowStride,
            OutputStride = (uint)output.RowStride,
            Function = (uint)norm,
            Replace = replace ? 1u : 0u,
            Epsilon = epsilon,
        });

    /// <summary>Queues <c>output = activation(gate) * up</c> and, for the multiplication that follows, its quantization.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="activation">Of the gate.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="width">Values per row, a multiple of 8, at most <see cref="MaxWidth"/>.</param>
    /// <param name="gate">f16 [rows, width].</param>
    /// <param name="up">f16 [rows, width]; may be the other half of the same rows. An address of 0 leaves the factor out.</param>
    /// <param name="output">f16 [rows, width]; may be <paramref name="gate"/>.</param>
    /// <param name="positions">As for <see cref="Norm"/>.</param>
    /// <param name="target">As for <see cref="Norm"/>.</param>
    /// <returns>As for <see cref="Norm"/>.</returns>
    public bool Gate(
        CudaStream stream, Activation activation, int rows, int width, CudaMatrix gate, CudaMatrix up, CudaMatrix output, ulong positions = 0, CudaQuantizeTarget? target = null) =>
        Row(stream, gate: true, rows, target, new RowArguments
        {
            First = gate.Address,
            Second = up.Address,
            Output = output.Address,
            Positions = positions,
            Width = (uint)width,
            FirstStride = (uint)gate.RowStride,
            SecondStride = (uint)up.RowStride,
            OutputStride = (uint)output.RowStride,
            Function = (uint)activation,
        });

    /// <summary>The longest row of <see cref="Norm"/> and <see cref="Gate"/>: it lies in shared memory, in f32.</summary>
    public int MaxWidth => (context.Device.SharedMemoryPerBlock - StaticRowShared) / sizeof(float) / 128 * 128;

    private const int StaticRowShared = 1024;

    private bool Row(CudaStream stream, bool gate, int rows, CudaQuantizeTarget? target, RowArguments arguments)
    {
        int width = (int)arguments.Width;
        RequireRows(width, width <= MaxWidth ? "" : $"at most {MaxWidth} values fit a block's shared memory");
        RowSink sink = target?.Outliers switch
        {
            null => RowSink.Round,
            OutlierPolicy.None => RowSink.Quantize,
            OutlierPolicy.Elements => RowSink.QuantizeElements,
            OutlierPolicy.Fixed => RowSink.QuantizeColumns,

            // A row's own outliers are all there are when it is alone.
            _ => rows == 1 ? RowSink.QuantizeElements : RowSink.Mark,
        };
        if (target is { } quantized)
        {
            Require(arguments.Output != 0 || quantized.Outliers == OutlierPolicy.None, "The multiplication reads the outliers of the rounded rows: they need an output.");
            arguments.Quantized = quantized.Quantized;
            arguments.RowSteps = quantized.RowSteps;
            arguments.RowZeros = quantized.ZeroPoint ? quantized.RowZeros : 0;
            arguments.OutlierMask = quantized.OutlierMask;
            arguments.RowOutliers = quantized.RowOutliers;
            arguments.RowOutlierPitch = quantized.RowOutlierPitch;
            arguments.Threshold = quantized.Threshold;
            arguments.KPadded = (uint)quantized.KPadded;
        }
        else
        {
            arguments.KPadded = (uint)((width + 127) / 128 * 128);
        }

        string name = DecoderKernelNames.Row(gate, sink, sink >= RowSink.Quantize && target!.Value.ZeroPoint, Capability);
        int shared = (int)arguments.KPadded * sizeof(float);
        CudaKernel kernel = Kernel(name);
        if (shared > (48 << 10) - StaticRowShared)
        {
            kernel.AllowShared(shared);
        }

        Launch(stream, name, arguments, rows, RowThreads((int)arguments.KPadded), shared);
        return sink >= RowSink.Quantize;
    }

    /// <summary>A group of eight values per thread up to 8,192 values, then several.</summary>
    private static int RowThreads(int width) => Math.Clamp(((width / 8) + 31) / 32 * 32, 32, 1024);

    private static void RequireRows(int width, string problem) =>
        Require(width > 0 && width % 8 == 0 && problem.Length == 0, $"A row of {width} values: {(problem.Length > 0 ? problem : "a multiple of 8 is needed")}.");
}
