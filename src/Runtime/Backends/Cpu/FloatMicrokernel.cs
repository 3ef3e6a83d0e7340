using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace KernelGen.Backends.Cpu;

/// <summary>
/// The innermost loops of the float32 GEMM. Weights lie in panels of <c>NR = 2 * lanes</c> outputs: for each k, NR neighbouring values.
/// Whatever the tile, an output is always the same sum: within a block of <see cref="BlockK"/> terms one fused multiply-add per k, in
/// ascending order, from zero; the blocks' sums added in ascending order. So its bits depend on its own row of x and its own weights
/// alone, not on the number of rows, the vector width or the threads. (Blocked sums also lose less precision than one long one.)
/// The loops are compiled optimized at once (AggressiveOptimization): the first prefill must not run through unoptimized ones.
/// </summary>
internal static unsafe class FloatMicrokernel
{
    /// <summary>Rows of a register tile. 6 x 2 accumulators hide the multiply-add latency and fit 16 vector registers.</summary>
    public const int Rows = 6;

    /// <summary>Panels that the one-row tile reads at once, for as many accumulators as it takes to hide the latency.</summary>
    public const int PanelsPerRowTile = 4;

    /// <summary>Terms per partial sum. A widened block of one panel (at most 32 KiB) stays in the L1 or L2 cache.</summary>
    public const int BlockK = 256;

    /// <summary>The widest vector that this processor is fast with, in floats.</summary>
    public static int PreferredLanes { get; } = Vector512.IsHardwareAccelerated ? 16 : Vector256.IsHardwareAccelerated ? 8 : 4;

    /// <summary>
    /// <c>c[rows, NR] = x[rows, k] * panel[k, NR]</c>, all float32, on the caller's thread, with <see cref="PreferredLanes"/>. The rows of
    /// the panel may be <paramref name="ldw"/> >= NR values apart, so that any row-major matrix of k rows serves as one.
    /// </summary>
    public static void MultiplyPanel(float* x, nint ldx, int rows, float* panel, nint ldw, nint k, float* c, nint ldc)
    {
        switch (PreferredLanes)
        {
            case 16: MultiplyPanel<FloatLanes16, Vector512<float>>(x, ldx, rows, panel, ldw, k, c, ldc); break;
            case 8: MultiplyPanel<FloatLanes8, Vector256<float>>(x, ldx, rows, panel, ldw, k, c, ldc); break;
            default: MultiplyPanel<FloatLanes4, Vector128<float>>(x, ldx, rows, panel, ldw, k, c, ldc); break;
        }
    }

    private static void MultiplyPanel<TLanes, TVector>(float* x, nint ldx, int rows, float* panel, nint ldw, nint k, float* c, nint ldc)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
    {
        for (nint start = 0; start < k; start += BlockK)
        {
            RowsTimesBlock<TLanes, TVector, Float32Format, float>(
                x + start, ldx, rows, panel + (start * ldw), ldw, nint.Min(BlockK, k - start), c, ldc, accumulate: start > 0);
        }
    }

    /// <summary>
    /// <c>c[panels * NR] = x[k] * panels[k, NR]</c> for one row, on the caller's thread, with <see cref="PreferredLanes"/>: a register tile would compute that row six times.
    /// </summary>
    /// <param name="x">The row.</param>
    /// <param name="panel">The first panel.</param>
    /// <param name="panelStride">Values from one panel to the next.</param>
    /// <param name="ldw">Values from one row of a panel to the next.</param>
    /// <param name="panels">How many panels there are.</param>
    /// <param name="k">Terms of a sum.</param>
    /// <param name="c">Receives the sums; there must be room for a multiple of <see cref="PanelsPerRowTile"/> panels.</param>
    public static void MultiplyRow(float* x, float* panel, nint panelStride, nint ldw, int panels, nint k, float* c)
    {
        switch (PreferredLanes)
        {
            case 16: MultiplyRow<FloatLanes16, Vector512<float>>(x, panel, panelStride, ldw, panels, k, c); break;
            case 8: MultiplyRow<FloatLanes8, Vector256<float>>(x, panel, panelStride, ldw, panels, k, c); break;
            default: MultiplyRow<FloatLanes4, Vector128<float>>(x, panel, panelStride, ldw, panels, k, c); break;
        }
    }

    private static void MultiplyRow<TLanes, TVector>(float* x, float* panel, nint panelStride, nint ldw, int panels, nint k, float* c)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
    {
        for (int first = 0; first < panels; first += PanelsPerRowTile)
        {
            for (nint start = 0; start < k; start += BlockK)
            {
                RowTimesPanels<TLanes, TVector, Float32Format, float>(
                    x + start, panel + (first * panelStride) + (start * ldw), panelStride, ldw, Math.Min(PanelsPerRowTile, panels - first), nint.Min(BlockK, k - start), c + (first * 2 * TLanes.Count), accumulate: start > 0);
            }
        }
    }

    /// <summary>All rows of x times one block of one panel, tile by tile.</summary>
    public static void RowsTimesBlock<TLanes, TVector, TFormat, TStored>(
        float* x, nint ldx, int rows, TStored* w, nint ldw, nint k, float* c, nint ldc, bool accumulate)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
        where TFormat : IWeightFormat<TStored>
        where TStored : unmanaged
    {
        for (int row = 0; row < rows; row += Rows)
        {
            Tile<TLanes, TVector, TFormat, TStored>(x + (row * ldx), ldx, Math.Min(Rows, rows - row), w, ldw, k, c + (row * ldc), ldc, accumulate);
        }
    }

    /// <summary>
    /// One register tile over one block of k. With fewer than six rows the last row is computed and stored several times over: cheaper
    /// than a body for each row count, and it cannot differ from the full tile in a single bit.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<TLanes, TVector, TFormat, TStored>(
        float* x, nint ldx, int rows, TStored* w, nint ldw, nint k, float* c, nint ldc, bool accumulate)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
        where TFormat : IWeightFormat<TStored>
        where TStored : unmanaged
    {
        float* x0 = x;
        float* x1 = x + (Math.Min(1, rows - 1) * ldx);
        float* x2 = x + (Math.Min(2, rows - 1) * ldx);
        float* x3 = x + (Math.Min(3, rows - 1) * ldx);
        float* x4 = x + (Math.Min(4, rows - 1) * ldx);
        float* x5 = x + (Math.Min(5, rows - 1) * ldx);

        TVector s00 = TLanes.Broadcast(0), s01 = TLanes.Broadcast(0);
        TVector s10 = TLanes.Broadcast(0), s11 = TLanes.Broadcast(0);
        TVector s20 = TLanes.Broadcast(0), s21 = TLanes.Broadcast(0);
        TVector s30 = TLanes.Broadcast(0), s31 = TLanes.Broadcast(0);
        TVector s40 = TLanes.Broadcast(0), s41 = TLanes.Broadcast(0);
        TVector s50 = TLanes.Broadcast(0), s51 = TLanes.Broadcast(0);

        for (nint i = 0; i < k; i++)
        {
            TVector w0 = TFormat.Load<TLanes, TVector>(w);
            TVector w1 = TFormat.Load<TLanes, TVector>(w + TLanes.Count);
            w += ldw;

            TVector a = TLanes.Broadcast(x0[i]);
            s00 = TLanes.MultiplyAdd(a, w0, s00);
            s01 = TLanes.MultiplyAdd(a, w1, s01);
            a = TLanes.Broadcast(x1[i]);
            s10 = TLanes.MultiplyAdd(a, w0, s10);
            s11 = TLanes.MultiplyAdd(a, w1, s11);
            a = TLanes.Broadcast(x2[i]);
            s20 = TLanes.MultiplyAdd(a, w0, s20);
            s21 = TLanes.MultiplyAdd(a, w1, s21);
            a = TLanes.Broadcast(x3[i]);
            s30 = TLanes.MultiplyAdd(a, w0, s30);
            s31 = TLanes.MultiplyAdd(a, w1, s31);
            a = TLanes.Broadcast(x4[i]);
            s40 = TLanes.MultiplyAdd(a, w0, s40);
            s41 = TLanes.MultiplyAdd(a, w1, s41);
            a = TLanes.Broadcast(x5[i]);
            s50 = TLanes.MultiplyAdd(a, w0, s50);
            s51 = TLanes.MultiplyAdd(a, w1, s51);
        }

        float* c0 = c;
        float* c1 = c + (Math.Min(1, rows - 1) * ldc);
        float* c2 = c + (Math.Min(2, rows - 1) * ldc);
        float* c3 = c + (Math.Min(3, rows - 1) * ldc);
        float* c4 = c + (Math.Min(4, rows - 1) * ldc);
        float* c5 = c + (Math.Min(5, rows - 1) * ldc);
        if (accumulate)
        {
            // All loads come before the first store: the pointers of missing rows are the last row's.
            s00 = TLanes.Add(TLanes.Load(c0), s00);
            s01 = TLanes.Add(TLanes.Load(c0 + TLanes.Count), s01);
            s10 = TLanes.Add(TLanes.Load(c1), s10);
            s11 = TLanes.Add(TLanes.Load(c1 + TLanes.Count), s11);
            s20 = TLanes.Add(TLanes.Load(c2), s20);
            s21 = TLanes.Add(TLanes.Load(c2 + TLanes.Count), s21);
            s30 = TLanes.Add(TLanes.Load(c3), s30);
            s31 = TLanes.Add(TLanes.Load(c3 + TLanes.Count), s31);
            s40 = TLanes.Add(TLanes.Load(c4), s40);
            s41 = TLanes.Add(TLanes.Load(c4 + TLanes.Count), s41);
            s50 = TLanes.Add(TLanes.Load(c5), s50);
            s51 = TLanes.Add(TLanes.Load(c5 + TLanes.Count), s51);
        }

        TLanes.Store(s00, c0);
        TLanes.Store(s01, c0 + TLanes.Count);
        TLanes.Store(s10, c1);
        TLanes.Store(s11, c1 + TLanes.Count);
        TLanes.Store(s20, c2);
        TLanes.Store(s21, c2 + TLanes.Count);
        TLanes.Store(s30, c3);
        TLanes.Store(s31, c3 + TLanes.Count);
        TLanes.Store(s40, c4);
        TLanes.Store(s41, c4 + TLanes.Count);
        TLanes.Store(s50, c5);
        TLanes.Store(s51, c5 + TLanes.Count);
    }

    /// <summary>
    /// One row of x times one block of <see cref="PanelsPerRowTile"/> panels that lie <paramref name="panelStride"/> values apart, their rows
    /// <paramref name="ldw"/>: <c>c[4 * NR]</c>. This is decoding, bound by how fast the weights arrive, so they are widened in registers and read once.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RowTimesPanels<TLanes, TVector, TFormat, TStored>(
        float* x, TStored* w, nint panelStride, nint ldw, int panels, nint k, float* c, bool accumulate)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
        where TFormat : IWeightFormat<TStored>
        where TStored : unmanaged
    {
        int lanes = TLanes.Count;
        TStored* w0 = w;
        TStored* w1 = w + (Math.Min(1, panels - 1) * panelStride);
        TStored* w2 = w + (Math.Min(2, panels - 1) * panelStride);
        TStored* w3 = w + (Math.Min(3, panels - 1) * panelStride);

        TVector s00 = TLanes.Broadcast(0), s01 = TLanes.Broadcast(0);
        TVector s10 = TLanes.Broadcast(0), s11 = TLanes.Broadcast(0);
        TVector s20 = TLanes.Broadcast(0), s21 = TLanes.Broadcast(0);
        TVector s30 = TLanes.Broadcast(0), s31 = TLanes.Broadcast(0);

        nint at = 0;
        for (nint i = 0; i < k; i++)
        {
            TVector a = TLanes.Broadcast(x[i]);
            s00 = TLanes.MultiplyAdd(a, TFormat.Load<TLanes, TVector>(w0 + at), s00);
            s01 = TLanes.MultiplyAdd(a, TFormat.Load<TLanes, TVector>(w0 + at + lanes), s01);
            s10 = TLanes.MultiplyAdd(a, TFormat.Load<TLanes, TVector>(w1 + at), s10);
            s11 = TLanes.MultiplyAdd(a, TFormat.Load<TLanes, TVector>(w1 + at + lanes), s11);
            s20 = TLanes.MultiplyAdd(a, TFormat.Load<TLanes, TVector>(w2 + at), s20);
            s21 = TLanes.MultiplyAdd(a, TFormat.Load<TLanes, TVector>(w2 + at + lanes), s21);
            s30 = TLanes.MultiplyAdd(a, TFormat.Load<TLanes, TVector>(w3 + at), s30);
            s31 = TLanes.MultiplyAdd(a, TFormat.Load<TLanes, TVector>(w3 + at + lanes), s31);
            at += ldw;
        }

        if (accumulate)
        {
            s00 = TLanes.Add(TLanes.Load(c), s00);
            s01 = TLanes.Add(TLanes.Load(c + lanes), s01);
            s10 = TLanes.Add(TLanes.Load(c + (2 * lanes)), s10);
            s11 = TLanes.Add(TLanes.Load(c + (3 * lanes)), s11);
            s20 = TLanes.Add(TLanes.Load(c + (4 * lanes)), s20);
            s21 = TLanes.Add(TLanes.Load(c + (5 * lanes)), s21);
            s30 = TLanes.Add(TLanes.Load(c + (6 * lanes)), s30);
            s31 = TLanes.Add(TLanes.Load(c + (7 * lanes)), s31);
        }

        TLanes.Store(s00, c);
        TLanes.Store(s01, c + lanes);
        TLanes.Store(s10, c + (2 * lanes));
        TLanes.Store(s11, c + (3 * lanes));
        TLanes.Store(s20, c + (4 * lanes));
        TLanes.Store(s21, c + (5 * lanes));
        TLanes.Store(s30, c + (6 * lanes));
        TLanes.Store(s31, c + (7 * lanes));
    }

    /// <summary>Widens <paramref name="count"/> stored weights, a multiple of the lanes, to float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen<TLanes, TVector, TFormat, TStored>(TStored* source, nint count, float* destination)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct
        where TFormat : IWeightFormat<TStored>
        where TStored : unmanaged
    {
        for (nint i = 0; i < count; i += TLanes.Count)
        {
            TLanes.Store(TFormat.Load<TLanes, TVector>(source + i), destination + i);
        }
    }
}
