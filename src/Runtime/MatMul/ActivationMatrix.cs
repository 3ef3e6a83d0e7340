using KernelGen.Memory;
using KernelGen.Quantization;

namespace KernelGen.MatMul;

/// <summary>The activations of one multiplication as float32 rows, whatever their type. Valid while the caller's span is pinned.</summary>
internal readonly unsafe struct ActivationMatrix<T>(T* values, int rows, int k, nint rowStride)
    where T : unmanaged
{
    public int Rows => rows;

    public int K => k;

    /// <summary>A row in float32: the caller's own memory where it is that already, else converted into the scratch.</summary>
    public float* Row(int m, float* scratch)
    {
        T* row = values + (m * rowStride);
        if (typeof(T) == typeof(float))
        {
            return (float*)row;
        }

        Elements.ToSingle(new ReadOnlySpan<T>(row, k), new Span<float>(scratch, k));
        return scratch;
    }

    /// <summary>Room for one converted row.</summary>
    public Workspace RentScratch() => Workspace.Rent(Workspace.SizeOf<float>(k));
}
