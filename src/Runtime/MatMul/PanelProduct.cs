using KernelGen.Kernels;
using KernelGen.Memory;
using KernelGen.Quantization;

namespace KernelGen.MatMul;

/// <summary>The exact int32 products of quantized activations with weight panels, and the scratch memory of a thread that computes them.</summary>
internal sealed unsafe class PanelProduct : IDisposable
{
    private readonly QuantizedActivations _activations;

    private readonly TransposedActivations? _transposed;

    private readonly CpuGemmVariant[] _byRows;

    private readonly int _tileRows;

    private readonly CpuGemmRowVariant? _wideRow;

    private readonly Workspace? _workspace;

    /// <summary>What a panel's sums start from where corrections are added.</summary>
    private readonly int* _start;

    /// <param name="family">The kernels.</param>
    /// <param name="tileRows">Rows of the tallest tile that is used.</param>
    /// <param name="activations">The activations.</param>
    /// <param name="transposed">The same, where corrections are added from them; null where there are none, or for few rows.</param>
    public PanelProduct(CpuKernelFamily family, int tileRows, QuantizedActivations activations, TransposedActivations? transposed)
    {
        _activations = activations;
        _transposed = transposed;
        _byRows = family.ByRows;
        _tileRows = tileRows;
        _wideRow = family.WideRow;
        if (transposed is not null)
        {
            // The last tile may be taller than the rows that are left.
            nint size = (nint)(TransposedActivations.GroupRows + tileRows) * family.PanelWidth;
            _workspace = Workspace.Rent(Workspace.SizeOf<int>(size));
            _start = _workspace.Take<int>(size);
        }
    }

    public void Dispose() => _workspace?.Dispose();

    /// <summary>Neighbouring panels against some rows.</summary>
    /// <param name="slice">The K slice of the panels.</param>
    /// <param name="firstRow">The first row, where corrections are added from transposed activations a multiple of <see cref="TransposedActivations.GroupRows"/>.</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="firstPanel">The first panel.</param>
    /// <param name="panels">How many panels.</param>
    /// <param name="c">The results, row-major, and room for as many rows as the tallest tile has.</param>
    /// <param name="cStride">Elements from one row of results to the next.</param>
    public void Multiply(WeightPanels slice, int firstRow, int rows, int firstPanel, int panels, int* c, nint cStride)
    {
        int width = slice.Family.PanelWidth, endPanel = firstPanel + panels;
        if (rows == 1 && _wideRow is not null)
        {
            int together = _wideRow.Tile.N / width;
            for (; firstPanel + together <= endPanel; firstPanel += together, c += _wideRow.Tile.N)
            {
                _wideRow.Gemm(ref *Row(slice, firstRow), ref *slice.Panel(firstPanel), slice.KGroups, ref *c);
                for (int p = 0; p < together; p++)
                {
                    slice.Corrections?.AddProducts(firstPanel + p, Row(slice, firstRow), c + (p * width));
                }
            }
        }

        for (; firstPanel < endPanel; firstPanel++, c += width)
        {
            MultiplyPanel(slice, firstRow, rows, firstPanel, c, cStride);
        }
    }

    private byte* Row(WeightPanels slice, int row) => _activations.Row(row) + ((nint)slice.FirstColumn * _activations.ElementBytes);

    private void MultiplyPanel(WeightPanels slice, int firstRow, int rows, int panel, int* c, nint cStride)
    {
        int* header = (int*)slice.Panel(panel);
        PairCorrections? corrections = slice.Corrections;
        corrections?.Prefetch(panel);
        if (corrections is null || _transposed is null)
        {
            MultiplyTiles(slice, firstRow, rows, panel, header, 0, c, cStride);
            for (int i = 0; i < rows; i++)
            {
                corrections?.AddProducts(panel, Row(slice, firstRow + i), c + (i * cStride));
            }

            return;
        }

        for (int done = 0; done < rows; done += TransposedActivations.GroupRows)
        {
            int groupRows = Math.Min(TransposedActivations.GroupRows, rows - done);
            _transposed.Multiply(firstRow + done, groupRows, corrections, panel, slice.FirstColumn, header, _start);
            MultiplyTiles(slice, firstRow + done, groupRows, panel, _start, slice.Family.PanelWidth, c + (done * cStride), cStride);
        }
    }

    /// <summary>
    /// One panel against some rows, in as few tiles as it takes, of about the same height. Which tile does a row never shows, since int32 sums
    /// are exact.
    /// </summary>
    private void MultiplyTiles(WeightPanels slice, int firstRow, int rows, int panel, int* start, nint startStride, int* c, nint cStride)
    {
        // Nothing of a tile is under way while the next is chosen: no division in the loop.
        int tiles = (rows + _tileRows - 1) / _tileRows, height = (rows + tiles - 1) / tiles, tall = rows - ((height - 1) * tiles);
        byte* a = Row(slice, firstRow), weights = slice.Panel(panel);
        nint aStride = _activations.RowBytes, kGroups = slice.KGroups;
        for (; rows > 0; tall--)
        {
            CpuGemmVariant variant = _byRows[Math.Min(tall > 0 ? height : height - 1, rows) - 1];
            variant.Gemm(ref *a, aStride, ref *weights, kGroups, ref *start, startStride, ref *c, cStride);
            int done = variant.Tile.M;
            rows -= done;
            a += done * aStride;
            start += done * startStride;
            c += done * cStride;
        }
    }
}
