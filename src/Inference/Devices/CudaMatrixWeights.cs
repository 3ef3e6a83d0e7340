using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>A matrix of weights on a device, in int8 or in float16, with its bias.</summary>
internal sealed class CudaMatrixWeights : IDisposable
{
    private readonly CudaBuffer? _bias;

    /// <summary>Room for a matrix.</summary>
    public CudaMatrixWeights(MatrixPlan plan, bool isInt8, CudaContext context, CudaStream stream)
    {
        Plan = plan;
        try
        {
            if (isInt8)
            {
                Int8 = new CudaInt8Weights(context, stream, plan.OutputFeatures, plan.InputFeatures);
            }
            else
            {
                HalfBuffer = new CudaBuffer(context, (long)plan.OutputFeatures * plan.InputFeatures * sizeof(ushort));
            }

            if (plan.HasBias)
            {
                _bias = new CudaBuffer(context, DeviceScheme.RoundUp(plan.OutputFeatures, CudaInt8Weights.TilePadding) * sizeof(float));
                _bias.Fill(0, stream);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public MatrixPlan Plan { get; }

    public CudaInt8Weights? Int8 { get; }

    public CudaBuffer? HalfBuffer { get; }

    /// <summary>The float16 weights.</summary>
    public CudaMatrix Half => new(HalfBuffer!.Address, ElementFormat.Float16, Plan.InputFeatures);

    /// <summary>f32, padded; or 0.</summary>
    public ulong Bias => _bias?.Address ?? 0;

    public long Bytes => (Int8?.Bytes ?? 0) + (HalfBuffer?.Bytes ?? 0) + (_bias?.Bytes ?? 0);

    public void UploadBias(ReadOnlySpan<float> values, int firstRow, CudaStream stream) =>
        _bias!.Upload(values, stream, (long)firstRow * sizeof(float));

    public void Dispose()
    {
        Int8?.Dispose();
        HalfBuffer?.Dispose();
        _bias?.Dispose();
    }
}
