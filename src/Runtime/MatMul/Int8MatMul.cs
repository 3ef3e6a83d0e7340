using System.Runtime.CompilerServices;
using KernelGen.Backends.Cpu;
using KernelGen.Kernels;
using KernelGen.Memory;
using KernelGen.Quantization;

namespace KernelGen.MatMul;

/// <summary>
/// LLM.int8() on the processor, top to bottom: quantize the activations and find the outliers, then for every block of results multiply in
/// int8, sum the outlier products in float32, dequantize, and round once.
/// </summary>
internal sealed unsafe class Int8MatMul(Int8Spec spec, CpuKernelFamily family, CpuSchedule schedule)
{
    private CpuKernelFamily Family => family;

    private int TileRows => schedule.TileRows;

    private int BlockRows { get; } = family.PairLimit == 0 || schedule.BlockRows % TransposedActivations.GroupRows == 0
        ? schedule.BlockRows
        : throw new ArgumentException(
            $"Blocks of {schedule.BlockRows} rows cut groups of {TransposedActivations.GroupRows} rows, whose sums are corrected together; use a multiple.", nameof(schedule));

    /// <returns>How many columns of the activations were left out of int8.</returns>
    public int Multiply<TInput, TOutput>(
        ActivationMatrix<TInput> a, Int8Weights weights, float* bias, TOutput* result, nint resultStride, MatMulOptions options)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        ActivationQuantizer quantizer = new(spec, family, options.OutlierThreshold ?? spec.OutlierThreshold, options.MaxDegreeOfParallelism);
        using QuantizedActivations activations = quantizer.Quantize(a, weights.FixedColumns);
        foreach (int column in activations.Outliers.Columns)
        {
            weights.KeepOutlierColumn(column);
        }

        using TransposedActivations? transposed = Transpose(activations, weights.Slices, options.MaxDegreeOfParallelism);
        long products = (long)a.Rows * weights.InputFeatures * weights.OutputFeatures;
        int degree = (int)Math.Clamp(products / schedule.ProductsPerThread, 1, CpuParallel.Degree(options.MaxDegreeOfParallelism));
        int blockWidth = BlockWidth(a.Rows, weights.OutputFeatures, degree);
        int columnBlocks = CeilingDivide(weights.OutputFeatures, blockWidth);

        // A strip of rows repeats the gathering of outlier weights: only as many strips as it takes to give every thread several tasks.
        int strips = Math.Clamp(CeilingDivide(degree * 4, columnBlocks), 1, CeilingDivide(a.Rows, BlockRows));
        if (degree == 1)
        {
            strips = 1;
        }

        int stripRows = CeilingDivide(CeilingDivide(a.Rows, strips), BlockRows) * BlockRows;
        strips = CeilingDivide(a.Rows, stripRows);
        CpuParallel.ForRanges(columnBlocks * strips, 1, degree, (first, end) =>
        {
            using BlockTask<TOutput> task = new(this, blockWidth, activations, transposed, weights, bias, result, resultStride, options.Activation);
            for (int i = first; i < end; i++)
            {
                int firstRow = i % strips * stripRows;
                task.Run(i / strips, firstRow, Math.Min(stripRows, a.Rows - firstRow));
            }
        });
        return activations.Outliers.Columns.Length;
    }

    /// <summary>Multiplies the int8 parts of one K slice alone, [M, padded N] int32: what tests hold against the oracle bit for bit.</summary>
    internal void MultiplyInt32(
        QuantizedActivations activations, WeightPanels slice, int* result, nint resultStride, int maxDegreeOfParallelism = -1)
    {
        using TransposedActivations? transposed = Transpose(activations, [slice], maxDegreeOfParallelism);

        // Several panels to a block of rows that does not stay in the cache until the next panel; the others as they lie, each asks for the next while it is multiplied.
        int panels = activations.Rows <= BlockRows ? slice.PanelCount : Math.Max(schedule.BlockColumns / family.PanelWidth, 1);
        CpuParallel.ForRanges(slice.PanelCount, grain: 1, maxDegreeOfParallelism, (first, end) =>
        {
            using PanelProduct product = new(family, schedule.TileRows, activations, transposed);
            for (int panel = first; panel < end; panel += panels)
            {
                int count = Math.Min(panels, end - panel);
                for (int done = 0; done < activations.Rows; done += BlockRows)
                {
                    int rows = Math.Min(BlockRows, activations.Rows - done);
                    product.Multiply(slice, done, rows, panel, count, result + (done * resultStride) + (panel * family.PanelWidth), resultStride);
                }
            }
        });
    }

    /// <summary>Sums of a block: a tile may be taller than the rows that are left.</summary>
    private nint TileSize(int width) => (nint)(BlockRows + family.Variants[^1].Tile.M) * width;

    /// <summary>The activations as the corrections of some slices need them; null where there are none, or few rows, which need no other order.</summary>
    private static TransposedActivations? Transpose(QuantizedActivations activations, WeightPanels[] slices, int maxDegreeOfParallelism)
    {
        if (activations.Rows <= TransposedActivations.FewRows || Array.TrueForAll(slices, static slice => slice.Corrections is null))
        {
            return null;
        }

        int columns = slices[^1].FirstColumn + slices[^1].Columns;
        TransposedActivations transposed = new(activations, columns);
        CpuParallel.ForRanges(TransposedActivations.Parts(activations.Rows), grain: 1 + ((1 << 15) / columns), maxDegreeOfParallelism, (first, end) =>
        {
            for (int part = first; part < end; part++)
            {
                transposed.Fill(activations, part);
            }
        });
        return transposed;
    }

    /// <summary>Whole panels of the schedule's width, or less where rows make a single strip and every thread is to have several blocks.</summary>
    private int BlockWidth(int rows, int outputFeatures, int degree)
    {
        int columns = schedule.BlockColumns;
        if (degree > 1 && rows <= BlockRows)
        {
            columns = Math.Min(columns, CeilingDivide(outputFeatures, degree * 4));
        }

        return CeilingDivide(columns, family.PanelWidth) * family.PanelWidth;
    }

    private static int CeilingDivide(int a, int b) => (a + b - 1) / b;

    /// <summary>A thread's work on blocks of results, with the scratch memory that it needs.</summary>
    private sealed class BlockTask<TOutput> : IDisposable
        where TOutput : unmanaged
    {
        private readonly Int8MatMul _owner;
        private readonly QuantizedActivations _activations;
        private readonly PanelProduct _product;
        private readonly Int8Weights _weights;
        private readonly float* _bias;
        private readonly TOutput* _result;
        private readonly nint _resultStride;
        private readonly Activation _activation;
        private readonly Workspace _workspace;
        private readonly int _width;
        private readonly int _blockRows;
        private readonly int* _tile;
        private readonly long* _wideTile;
        private readonly float* _blockBias;
        private readonly float* _outlierWeights;

        public BlockTask(
            Int8MatMul owner,
            int width,
            QuantizedActivations activations,
            TransposedActivations? transposed,
            Int8Weights weights,
            float* bias,
            TOutput* result,
            nint resultStride,
            Activation activation)
        {
            _owner = owner;
            _activations = activations;
            _product = new PanelProduct(owner.Family, owner.TileRows, activations, transposed);
            _weights = weights;
            _bias = bias;
            _result = result;
            _resultStride = resultStride;
            _activation = activation;
            _width = width;
            _blockRows = owner.BlockRows;

            nint tileSize = owner.TileSize(_width);
            nint wideSize = weights.Slices.Length > 1 ? _blockRows * _width : 0;
            nint gathered = (nint)activations.Outliers.Columns.Length * _width;
            _workspace = Workspace.Rent(
                Workspace.SizeOf<int>(tileSize) + Workspace.SizeOf<long>(wideSize) + Workspace.SizeOf<float>(_width) + Workspace.SizeOf<float>(gathered));
            _tile = _workspace.Take<int>(tileSize);
            _wideTile = _workspace.Take<long>(wideSize);
            _blockBias = _workspace.Take<float>(_width);
            _outlierWeights = _workspace.Take<float>(gathered);
            new Span<float>(_blockBias, _width).Clear();
        }

        public void Dispose()
        {
            _product.Dispose();
            _workspace.Dispose();
        }

        public void Run(int columnBlock, int firstRow, int rows)
        {
            int firstColumn = columnBlock * _width;
            int columns = Math.Min(_width, _weights.OutputFeatures - firstColumn);
            int panelWidth = _owner.Family.PanelWidth;
            int firstPanel = firstColumn / panelWidth, panels = CeilingDivide(columns, panelWidth);
            if (_bias is not null)
            {
                new ReadOnlySpan<float>(_bias + firstColumn, columns).CopyTo(new Span<float>(_blockBias, _width));
            }

            for (int done = 0; done < rows; done += _blockRows)
            {
                int blockRows = Math.Min(_blockRows, rows - done);
                if (_weights.Slices.Length > 1)
                {
                    SumSlices(firstRow + done, blockRows, firstPanel, panels);
                }
                else
                {
                    _product.Multiply(_weights.Slices[0], firstRow + done, blockRows, firstPanel, panels, _tile, _width);
                }

                // The first multiplication brought the panels into the cache.
                if (done == 0)
                {
                    GatherOutlierWeights(firstColumn, columns);
                }

                Finish(firstRow + done, blockRows, firstColumn, columns, panels * panelWidth);
            }
        }

        /// <summary>K is longer than 32-bit sums may be: every slice's sums fit, their sum is taken in 64 bits.</summary>
        private void SumSlices(int firstRow, int rows, int firstPanel, int panels)
        {
            int size = rows * _width;
            new Span<long>(_wideTile, size).Clear();
            foreach (WeightPanels slice in _weights.Slices)
            {
                _product.Multiply(slice, firstRow, rows, firstPanel, panels, _tile, _width);
                for (int i = 0; i < size; i++)
                {
                    _wideTile[i] += _tile[i];
                }
            }
        }

        private void GatherOutlierWeights(int firstColumn, int columns)
        {
            ReadOnlySpan<int> outlierColumns = _activations.Outliers.Columns;
            for (int i = 0; i < outlierColumns.Length; i++)
            {
                Span<float> row = new(_outlierWeights + ((nint)i * _width), _width);
                _weights.ReadOutlierColumn(outlierColumns[i], firstColumn, row[..columns]);
                row[columns..].Clear();
            }
        }

        private void Finish(int firstRow, int rows, int firstColumn, int columns, int paddedColumns)
        {
            RowOutliers outliers = _activations.Outliers;
            CpuVectors.Prefetch(ref Unsafe.Add(ref _weights.ColumnScales[firstColumn], _width), _width);

            // float32 results of whole panels go where they belong, others over the sums, to be copied or rounded.
            bool direct = typeof(TOutput) == typeof(float) && columns == paddedColumns;
            float* results = direct ? (float*)_result + (firstRow * _resultStride) + firstColumn : (float*)_tile;
            nint resultsStride = direct ? _resultStride : _width;
            fixed (int* slots = outliers.Slots)
            {
                fixed (float* values = outliers.Values)
                {
                    CpuEpilogueTile tile = new()
                    {
                        Rows = rows,
                        Columns = paddedColumns,
                        Sums = ref *_tile,
                        WideSums = ref *_wideTile,
                        SumsStride = _width,
                        RowScales = ref _activations.Scales[firstRow],
                        ZeroPoints = ref _activations.ZeroPoints[firstRow],
                        ColumnScales = ref _weights.ColumnScales[firstColumn],
                        WeightSums = ref _weights.WeightSums[firstColumn],
                        OutlierStarts = ref outliers.Starts[firstRow],
                        OutlierSlots = ref *slots,
                        OutlierValues = ref *values,
                        OutlierWeights = ref *_outlierWeights,
                        OutlierWeightsStride = _width,
                        Bias = ref *_blockBias,
                        Activation = _activation,
                        Results = ref *results,
                        ResultsStride = resultsStride,
                    };
                    CpuRowKernels kernels = _owner.Family.Rows;
                    (_weights.Slices.Length > 1 ? kernels.EpilogueInt64! : kernels.Epilogue)(ref tile);
                }
            }

            for (int i = 0; i < rows && !direct; i++)
            {
                Elements.FromSingle(
                    new ReadOnlySpan<float>(results + (i * resultsStride), columns),
                    new Span<TOutput>(_result + ((firstRow + i) * _resultStride) + firstColumn, columns));
            }
        }
    }
}
