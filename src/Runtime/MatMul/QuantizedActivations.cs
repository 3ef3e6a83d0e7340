using KernelGen.Memory;

namespace KernelGen.MatMul;

/// <summary>A batch of activations, quantized: int8 values, a scale and zero-point per row, and the outliers.</summary>
internal sealed unsafe class QuantizedActivations : IDisposable
{
    private readonly Workspace _workspace;

    /// <param name="rows">M.</param>
    /// <param name="k">K.</param>
    /// <param name="format">How the kernels read the values.</param>
    /// <param name="tallestTile">Kernels read whole tiles, transposing whole parts: memory for the rows that complete the last one is there too.</param>
    public QuantizedActivations(int rows, int k, ActivationFormat format, int tallestTile)
    {
        Rows = rows;
        nint paddedK = checked(((nint)k + 63) & ~(nint)63);
        ElementBytes = format == ActivationFormat.Int16 ? sizeof(short) : sizeof(sbyte);
        RowBytes = paddedK * ElementBytes;

        // Rows a multiple of 4096 bytes apart would share the same few cache sets.
        if (RowBytes % 4096 == 0)
        {
            RowBytes += 64;
        }

        nint bytes = checked((rows + Math.Max(tallestTile, TransposedActivations.PartRows)) * RowBytes);
        _workspace = Workspace.Rent(Workspace.SizeOf<byte>(bytes) + (2 * Workspace.SizeOf<float>(rows)));
        Values = _workspace.Take<byte>(bytes);
        Scales = _workspace.Take<float>(rows);
        ZeroPoints = _workspace.Take<int>(rows);
        Outliers = new RowOutliers([], rows);
    }

    /// <summary>M.</summary>
    public int Rows { get; }

    /// <summary>Bytes of one quantized value.</summary>
    public int ElementBytes { get; }

    /// <summary>Bytes from one row of <see cref="Values"/> to the next.</summary>
    public nint RowBytes { get; }

    /// <summary>The quantized values, outliers as zero.</summary>
    public byte* Values { get; }

    /// <summary>The scale of every row, NaN for a row with a value that is not finite.</summary>
    public float* Scales { get; }

    /// <summary>The zero-point of every row.</summary>
    public int* ZeroPoints { get; }

    /// <summary>What left the int8 part.</summary>
    public RowOutliers Outliers { get; set; }

    public byte* Row(int m) => Values + (m * RowBytes);

    public void Dispose() => _workspace.Dispose();
}
