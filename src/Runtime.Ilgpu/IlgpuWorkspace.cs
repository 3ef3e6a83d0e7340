using ILGPU;
using ILGPU.Runtime;

namespace KernelGen;

/// <summary>
/// The device memory that multiplications share, one after the other: quantized activations, their statistics, the outlier mask and list. It grows
/// to the largest multiplication.
/// </summary>
internal sealed class IlgpuWorkspace(IlgpuAccelerator accelerator) : IDisposable
{
    /// <summary>Rows are padded to whole tiles of any kernel, so that kernels read them without a bound.</summary>
    private const int RowPadding = 128;

    private MemoryBuffer1D<int, Stride1D.Dense>? quantized;
    private MemoryBuffer1D<float, Stride1D.Dense>? rowSteps;
    private MemoryBuffer1D<int, Stride1D.Dense>? rowZeros;
    private MemoryBuffer1D<int, Stride1D.Dense>? mask;
    private MemoryBuffer1D<int, Stride1D.Dense>? outliers;
    private MemoryBuffer1D<int, Stride1D.Dense>? range;

    public ArrayView<int> Quantized => quantized!.View.BaseView;

    /// <summary>The device address of <see cref="Quantized"/>.</summary>
    public long QuantizedAddress => quantized!.NativePtr;

    public ArrayView<float> RowSteps => rowSteps!.View.BaseView;

    public ArrayView<int> RowZeros => rowZeros!.View.BaseView;

    /// <summary>One bit per column, all zero between multiplications.</summary>
    public ArrayView<int> Mask => mask!.View.BaseView;

    /// <summary>The number of outlier columns, then the columns.</summary>
    public ArrayView<int> Outliers => outliers!.View.BaseView;

    /// <summary>The bits of the ends of the range that all rows share.</summary>
    public ArrayView<int> Range => range!.View.BaseView;

    public void Reserve(long rows, int kWords)
    {
        long padded = (rows + RowPadding - 1) / RowPadding * RowPadding;
        Grow(ref quantized, padded * kWords, "quantized activations");
        Grow(ref rowSteps, padded, "row statistics");
        Grow(ref rowZeros, padded, "row statistics");
        Grow(ref mask, kWords / 8, "the outlier mask");
        Grow(ref outliers, (kWords * 4) + 1, "the list of outlier columns");
        Grow(ref range, 2, "the range of all rows");
    }

    public void Dispose()
    {
        quantized?.Dispose();
        rowSteps?.Dispose();
        rowZeros?.Dispose();
        mask?.Dispose();
        outliers?.Dispose();
        range?.Dispose();
    }

    private void Grow<T>(ref MemoryBuffer1D<T, Stride1D.Dense>? buffer, long length, string what)
        where T : unmanaged
    {
        if (buffer is not null && buffer.Length >= length)
        {
            return;
        }

        MemoryBuffer1D<T, Stride1D.Dense> grown = accelerator.Allocate<T>(length, what);
        grown.MemSetToZero(accelerator.Stream);

        // What was queued may still use the old one.
        accelerator.Synchronize();
        buffer?.Dispose();
        buffer = grown;
    }
}
