using KernelGen.Backends.Cuda;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>One layer's matrices on a device.</summary>
internal sealed record CudaLayer(LayerPlan Plan, CudaMatrixWeights QueryKeyValue, CudaMatrixWeights Output, CudaMatrixWeights Up, CudaMatrixWeights Down);

/// <summary>A norm's parameters on a device; 0 for what it does not have.</summary>
internal readonly record struct CudaNormWeights(NormDescription Description, ulong Weight, ulong Bias)
{
    public CudaNorm Kind => Description.Kind == NormKind.Layer ? CudaNorm.Layer : CudaNorm.RootMeanSquare;
}

/// <summary>The parameters of a model, or of a part of its layers, on a device.</summary>
internal sealed class CudaParameters : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly Dictionary<NormDescription, CudaNormWeights> _norms = [];
    private readonly CudaContext _context;
    private readonly CudaStream _stream;

    private CudaParameters(CudaContext context, CudaStream stream)
    {
        _context = context;
        _stream = stream;
    }

    public CudaMatrixWeights? ProjectIn { get; private set; }

    public CudaMatrixWeights? ProjectOut { get; private set; }

    public IReadOnlyList<CudaLayer> Layers { get; private set; } = [];

    /// <summary>f16 [vocabulary, size].</summary>
    public CudaMatrix Tokens { get; private set; }

    /// <summary>f16 [positions, hidden], or an address of 0.</summary>
    public CudaMatrix Positions { get; private set; }

    /// <summary>f16 [vocabulary, size]; the token embedding where it is tied.</summary>
    public CudaMatrix Output { get; private set; }

    /// <summary>f32 [positions][pairs][2]; or none.</summary>
    public CudaRotary Rotary { get; private set; }

    /// <summary>f32 [heads], or 0.</summary>
    public ulong Slopes { get; private set; }

    /// <summary>Bytes of all parameters, computed angles and slopes left out.</summary>
    public long Bytes { get; private set; }

    /// <summary>Bytes of the matrices alone.</summary>
    public long MatrixBytes { get; private set; }

    /// <summary>Loads everything.</summary>
    public static CudaParameters Load(
        DecoderPlan plan,
        DeviceMemoryPlan memory,
        CudaWeightLoader loader,
        DecoderWeights weights,
        CudaContext context,
        CudaStream stream,
        LoadingProgress progress,
        CancellationToken cancellation)
    {
        CudaParameters parameters = new(context, stream);
        try
        {
            parameters.LoadTables(plan, memory, loader);
            foreach (NormDescription norm in plan.NormsOf(memory.Layers, memory.IsHome))
            {
                parameters.LoadNorm(norm, weights);
            }

            parameters.LoadMatrices(plan, memory, loader, progress, cancellation);
            stream.Synchronize();
            return parameters;
        }
        catch
        {
            parameters.Dispose();
            throw;
        }
    }

    public CudaNormWeights Norm(NormDescription description) => _norms[description];

    public void Dispose()
    {
        foreach (IDisposable item in _owned)
        {
            item.Dispose();
        }
    }

    private void LoadMatrices(DecoderPlan plan, DeviceMemoryPlan memory, CudaWeightLoader loader, LoadingProgress progress, CancellationToken cancellation)
    {
        ProjectIn = !memory.IsHome || plan.ProjectIn is null ? null : Matrix(plan.ProjectIn);
        Layers = [.. plan.LayersOf(memory.Layers).Select(layer => new CudaLayer(
            layer, Matrix(layer.QueryKeyValue), Matrix(layer.Output), Matrix(layer.Up), Matrix(layer.Down)))];
        ProjectOut = !memory.IsHome || plan.ProjectOut is null ? null : Matrix(plan.ProjectOut);

        CudaMatrixWeights Matrix(MatrixPlan matrix)
        {
            cancellation.ThrowIfCancellationRequested();
            CudaMatrixWeights result = Own(loader.Load(matrix, memory.Scheme));
            Bytes += result.Bytes;
            MatrixBytes += result.Bytes;
            progress.Advance();
            return result;
        }
    }

    private void LoadTables(DecoderPlan plan, DeviceMemoryPlan memory, CudaWeightLoader loader)
    {
        DecoderDescription description = plan.Description;
        if (memory.IsHome)
        {
            Tokens = Table(description.TokenEmbedding, isOutput: false);
            Output = description.OutputEmbedding is { } output ? Table(description.TokenEmbedding with { Name = output }, isOutput: true) : Tokens;
        }

        switch (description.Positions)
        {
            case LearnedPositions learned when memory.IsHome:
                Positions = Table(learned.Table, isOutput: false);
                break;
            case RotaryPositions rotary:
                Rotary = new CudaRotary(Floats(Angles(rotary, memory.Context)), rotary.Frequencies.Count);
                break;
            case AlibiPositions alibi:
                Slopes = Floats([.. alibi.Slopes]);
                break;
        }

        CudaMatrix Table(EmbeddingDescription table, bool isOutput)
        {
            CudaBuffer buffer = Own(loader.LoadTable(table, isOutput));
            Bytes += buffer.Bytes;
            return new CudaMatrix(buffer.Address, ElementFormat.Float16, table.Size);
        }
    }

    private void LoadNorm(NormDescription norm, DecoderWeights weights)
    {
        (float[]? weight, float[]? bias) = weights.NormOf(norm);
        _norms.Add(norm, new CudaNormWeights(norm, weight is null ? 0 : Floats(weight), bias is null ? 0 : Floats(bias)));
        Bytes += ((weight?.Length ?? 0) + (bias?.Length ?? 0)) * (long)sizeof(float);
    }

    /// <summary>As the processor's <see cref="RotaryTable"/> computes them.</summary>
    private static float[] Angles(RotaryPositions rotary, int positions)
    {
        float[] frequencies = [.. rotary.Frequencies];
        float[] angles = new float[2L * positions * frequencies.Length];
        for (int position = 0; position < positions; position++)
        {
            for (int i = 0; i < frequencies.Length; i++)
            {
                (float sine, float cosine) = MathF.SinCos(position * frequencies[i]);
                long at = 2 * (((long)position * frequencies.Length) + i);
                (angles[at], angles[at + 1]) = (cosine, sine);
            }
        }

        return angles;
    }

    private ulong Floats(float[] values)
    {
        CudaBuffer buffer = Own(new CudaBuffer(_context, (long)values.Length * sizeof(float)));
        buffer.Upload<float>(values, _stream);
        return buffer.Address;
    }

    private T Own<T>(T item)
        where T : IDisposable
    {
        _owned.Add(item);
        return item;
    }
}
