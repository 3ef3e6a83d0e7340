using KernelGen.Memory;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace KernelGen.Backends.Cpu;

/// <summary>
/// float32 matrix multiplication with packed weights: <c>y[M,N] = x[M,K] * W[N,K]^T + bias</c>. The path of everything that is not int8:
/// the reference, the output head, and int8 weights under float activations. A row's result has the same bits alone and among any other
/// rows, with any vector width and any number of threads (see <see cref="FloatMicrokernel"/>).
/// </summary>
internal static unsafe class FloatGemm
{
    /// <summary>Below this many multiply-adds waking another thread costs more than it saves.</summary>
    private const long SmallestParallelWork = 1 << 18;

    /// <summary>A block of rows of x takes about half a typical L2 cache.</summary>
    private const int RowBlockBytes = 512 * 1024;

    private const int MostRowsPerBlock = 64 * FloatMicrokernel.Rows;
    private const int FewestRowsPerBlock = 16 * FloatMicrokernel.Rows;

    [ThreadStatic]
    private static AlignedBuffer<float>? t_scratch;

    /// <summary>Multiplies.</summary>
    /// <param name="x">Activations [M,K], row by row.</param>
    /// <param name="rows">M; 0 is allowed.</param>
    /// <param name="weights">Packed [N,K].</param>
    /// <param name="bias">N values, or empty for none.</param>
    /// <param name="y">Result [M,N], row by row; must not overlap <paramref name="x"/>.</param>
    /// <param name="maxDegreeOfParallelism">Most threads to use; -1 for one per processor.</param>
    /// <exception cref="ArgumentException">A length does not fit the sizes.</exception>
    /// <exception cref="ObjectDisposedException">The weights are disposed.</exception>
    public static void Multiply(
        ReadOnlySpan<float> x, int rows, PackedFloatWeights weights, ReadOnlySpan<float> bias, Span<float> y, int maxDegreeOfParallelism = -1)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        _ = CpuParallel.Degree(maxDegreeOfParallelism);
        CheckLength(x.Length, (long)rows * weights.InputFeatures, nameof(x));
        CheckLength(y.Length, (long)rows * weights.OutputFeatures, nameof(y));
        if (!bias.IsEmpty)
        {
            CheckLength(bias.Length, weights.OutputFeatures, nameof(bias));
        }

        if (rows == 0)
        {
            return;
        }

        weights.Hold();
        try
        {
            fixed (float* xs = x, ys = y, biases = bias, scales = weights.Scales)
            {
                Operands operands = new()
                {
                    X = xs,
                    Rows = rows,
                    N = weights.OutputFeatures,
                    K = weights.InputFeatures,
                    Panels = weights.Panels,
                    PanelCount = weights.PanelCount,
                    Bias = biases,
                    Scales = scales,
                    Y = ys,
                    Threads = (long)rows * weights.OutputFeatures * weights.InputFeatures < SmallestParallelWork ? 1 : maxDegreeOfParallelism,
                };
                switch (weights.Lanes)
                {
                    case 16: Multiply<FloatLanes16, Vector512<float>>(operands, weights.Format); break;
                    case 8: Multiply<FloatLanes8, Vector256<float>>(operands, weights.Format); break;
                    default: Multiply<FloatLanes4, Vector128<float>>(operands, weights.Format); break;
                }
            }
        }
        finally
        {
            weights.Release();
        }
    }

    private static void CheckLength(long actual, long expected, string name)
    {
        if (actual != expected)
        {
            throw new ArgumentException($"Expected {expected:N0} values, not {actual:N0}.", name);
        }
    }

    private static void Multiply<TLanes, TVector>(in Operands operands, FloatWeightFormat format)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
    {
        switch (format)
        {
            case FloatWeightFormat.Float32: Multiply<TLanes, TVector, Float32Format, float>(operands); break;
            case FloatWeightFormat.Float16: Multiply<TLanes, TVector, Float16Format, ushort>(operands); break;
            case FloatWeightFormat.BFloat16: Multiply<TLanes, TVector, BFloat16Format, ushort>(operands); break;
            default: Multiply<TLanes, TVector, Int8Format, sbyte>(operands); break;
        }
    }

    private static void Multiply<TLanes, TVector, TFormat, TStored>(in Operands operands)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
        where TFormat : IWeightFormat<TStored>
        where TStored : unmanaged
    {
        Operands o = operands;
        if (o.Rows <= 2)
        {
            int groups = (o.PanelCount + FloatMicrokernel.PanelsPerRowTile - 1) / FloatMicrokernel.PanelsPerRowTile;
            CpuParallel.ForEach(groups, o.Threads, group => DecodePanels<TLanes, TVector, TFormat, TStored>(o, group * FloatMicrokernel.PanelsPerRowTile));
            return;
        }

        int rowsThatFit = Math.Clamp(RowBlockBytes / sizeof(float) / o.K, FewestRowsPerBlock, MostRowsPerBlock);
        int rowBlocks = (o.Rows + rowsThatFit - 1) / rowsThatFit;
        int tilesPerBlock = ((o.Rows + FloatMicrokernel.Rows - 1) / FloatMicrokernel.Rows + rowBlocks - 1) / rowBlocks;
        int rowsPerBlock = tilesPerBlock * FloatMicrokernel.Rows;
        rowBlocks = (o.Rows + rowsPerBlock - 1) / rowsPerBlock;

        // Consecutive items share the rows, which stay in the cache, and go through the panels, each of which is used for many rows.
        CpuParallel.ForEach(rowBlocks * o.PanelCount, o.Threads, item =>
        {
            int firstRow = item / o.PanelCount * rowsPerBlock;
            BlockTimesPanel<TLanes, TVector, TFormat, TStored>(o, firstRow, Math.Min(rowsPerBlock, o.Rows - firstRow), item % o.PanelCount);
        });
    }

    private static void BlockTimesPanel<TLanes, TVector, TFormat, TStored>(in Operands o, int firstRow, int rows, int panel)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
        where TFormat : IWeightFormat<TStored>
        where TStored : unmanaged
    {
        int width = 2 * TLanes.Count;
        int firstColumn = panel * width;
        int columns = Math.Min(width, o.N - firstColumn);
        TStored* weights = (TStored*)o.Panels + ((long)firstColumn * o.K);
        float* x = o.X + ((long)firstRow * o.K);
        float* y = o.Y + ((long)firstRow * o.N) + firstColumn;

        AlignedBuffer<float> scratch = Scratch();
        float* widened = scratch.Pointer;

        // The last panel may be wider than what is left of y.
        float* c = columns == width ? y : widened + (FloatMicrokernel.BlockK * width);
        nint ldc = columns == width ? o.N : width;

        // A stored float is read where it lies. Others are widened once for all rows, or for a few rows in registers.
        bool direct = typeof(TStored) == typeof(float) || rows <= FloatMicrokernel.Rows;
        for (int start = 0; start < o.K; start += FloatMicrokernel.BlockK)
        {
            int k = Math.Min(FloatMicrokernel.BlockK, o.K - start);
            TStored* block = weights + ((long)start * width);
            if (direct)
            {
                FloatMicrokernel.RowsTimesBlock<TLanes, TVector, TFormat, TStored>(x + start, o.K, rows, block, width, k, c, ldc, start > 0);
            }
            else
            {
                FloatMicrokernel.Widen<TLanes, TVector, TFormat, TStored>(block, (nint)k * width, widened);
                FloatMicrokernel.RowsTimesBlock<TLanes, TVector, Float32Format, float>(x + start, o.K, rows, widened, width, k, c, ldc, start > 0);
            }
        }

        for (int row = 0; row < rows; row++)
        {
            Finish<TLanes, TVector>(c + (row * ldc), columns, firstColumn, o, y + ((long)row * o.N));
        }

        GC.KeepAlive(scratch);
    }

    private static void DecodePanels<TLanes, TVector, TFormat, TStored>(in Operands o, int firstPanel)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
        where TFormat : IWeightFormat<TStored>
        where TStored : unmanaged
    {
        int width = 2 * TLanes.Count;
        int firstColumn = firstPanel * width;
        int panels = Math.Min(FloatMicrokernel.PanelsPerRowTile, o.PanelCount - firstPanel);
        int columns = Math.Min(panels * width, o.N - firstColumn);
        nint ldc = FloatMicrokernel.PanelsPerRowTile * width;
        TStored* weights = (TStored*)o.Panels + ((long)firstColumn * o.K);
        AlignedBuffer<float> scratch = Scratch();
        float* c = scratch.Pointer;
        for (int start = 0; start < o.K; start += FloatMicrokernel.BlockK)
        {
            // The second row finds the block in the cache.
            int k = Math.Min(FloatMicrokernel.BlockK, o.K - start);
            for (int row = 0; row < o.Rows; row++)
            {
                FloatMicrokernel.RowTimesPanels<TLanes, TVector, TFormat, TStored>(
                    o.X + ((long)row * o.K) + start, weights + ((long)start * width), (nint)o.K * width, width, panels, k, c + (row * ldc), start > 0);
            }
        }

        for (int row = 0; row < o.Rows; row++)
        {
            Finish<TLanes, TVector>(c + (row * ldc), columns, firstColumn, o, o.Y + ((long)row * o.N) + firstColumn);
        }

        GC.KeepAlive(scratch);
    }

    /// <summary>Scale, bias and copy of one row's finished sums; product and sum are rounded one by one in the vector part and the rest alike.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Finish<TLanes, TVector>(float* sums, int columns, int firstColumn, in Operands o, float* y)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
    {
        float* scales = o.Scales == null ? null : o.Scales + firstColumn;
        float* bias = o.Bias == null ? null : o.Bias + firstColumn;
        if (sums == y && scales == null && bias == null)
        {
            return;
        }

        int column = 0;
        for (; column <= columns - TLanes.Count; column += TLanes.Count)
        {
            TVector value = TLanes.Load(sums + column);
            if (scales != null)
            {
                value = TLanes.Multiply(value, TLanes.Load(scales + column));
            }

            if (bias != null)
            {
                value = TLanes.Add(value, TLanes.Load(bias + column));
            }

            TLanes.Store(value, y + column);
        }

        for (; column < columns; column++)
        {
            float value = sums[column];
            if (scales != null)
            {
                value *= scales[column];
            }

            if (bias != null)
            {
                value += bias[column];
            }

            y[column] = value;
        }
    }

    /// <summary>This thread's scratch: a widened block, then the sums of a block of rows, both for the widest panel.</summary>
    private static AlignedBuffer<float> Scratch() => t_scratch ??= new AlignedBuffer<float>((FloatMicrokernel.BlockK + MostRowsPerBlock) * 32);

    private readonly struct Operands
    {
        public required float* X { get; init; }

        public required int Rows { get; init; }

        public required int N { get; init; }

        public required int K { get; init; }

        public required byte* Panels { get; init; }

        public required int PanelCount { get; init; }

        public required float* Bias { get; init; }

        public required float* Scales { get; init; }

        public required float* Y { get; init; }

        public required int Threads { get; init; }
    }
}
