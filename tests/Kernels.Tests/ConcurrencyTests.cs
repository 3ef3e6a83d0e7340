using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>What the types promise to several threads.</summary>
public sealed class ConcurrencyTests
{
    private const int M = 24, N = 150, K = 320;

    private static readonly float[] Weights = Matrices.Flatten(Matrices.Normal(new Random(1), N, K));

    [Fact]
    public void Multiplications_of_one_matrix_at_once_give_the_bits_of_one_alone()
    {
        // Original outlier weights: the columns that are kept on the way are shared as well.
        using Int8Weights int8 = Columns.Kernels.Quantize<float>(Weights, N, K, new WeightQuantizationOptions { OutlierWeights = OutlierWeights.Original });
        float[][] activations = [.. Enumerable.Range(0, 8).Select(static seed => Matrices.Flatten(Matrices.WithOutlierColumns(new Random(seed), M, K, seed)))];
        using Int8Weights alone = Columns.Kernels.Quantize<float>(Weights, N, K, new WeightQuantizationOptions { OutlierWeights = OutlierWeights.Original });
        float[][] expected = [.. activations.Select(a => Multiply(a, alone))];
        OnThreads(16, thread =>
        {
            for (int i = 0; i < 40; i++)
            {
                int which = (thread + i) % activations.Length;
                Assert.Equal(expected[which], Multiply(activations[which], int8));
            }
        });
    }

    [Fact]
    public void Quantizations_at_once_give_the_same_weights()
    {
        using Int8Weights expected = Columns.Kernels.Quantize<float>(Weights, N, K);
        float[] a = Matrices.Flatten(Matrices.Normal(new Random(3), M, K));
        float[] result = Multiply(a, expected);
        OnThreads(8, _ =>
        {
            for (int i = 0; i < 10; i++)
            {
                using Int8Weights own = Columns.Kernels.Quantize<float>(Weights, N, K);
                Assert.Equal(result, Multiply(a, own));
            }
        });
    }

    [Fact]
    public void Weights_that_are_disposed_in_use_serve_what_runs_and_refuse_what_comes()
    {
        float[] a = Matrices.Flatten(Matrices.WithOutlierColumns(new Random(4), M, K, 4));
        using Int8Weights whole = Columns.Kernels.Quantize<float>(Weights, N, K);
        float[] expected = Multiply(a, whole);
        sbyte[] row = new sbyte[K];
        whole.CopyQuantizedRow(7, row);
        int refused = 0;
        for (int round = 0; round < 30; round++)
        {
            Int8Weights int8 = Columns.Kernels.Quantize<float>(Weights, N, K);
            using Barrier begin = new(5);
            OnThreads(5, thread =>
            {
                begin.SignalAndWait();
                if (thread == 0)
                {
                    Thread.SpinWait(20_000);
                    int8.Dispose();
                    return;
                }

                try
                {
                    sbyte[] copied = new sbyte[K];
                    while (true)
                    {
                        if (thread == 1)
                        {
                            int8.CopyQuantizedRow(7, copied);
                            Assert.Equal(row, copied);
                        }
                        else
                        {
                            Assert.Equal(expected, Multiply(a, int8));
                        }
                    }
                }
                catch (ObjectDisposedException exception)
                {
                    Assert.Equal("Int8Weights 'weights'", exception.ObjectName);
                    Interlocked.Increment(ref refused);
                }
            });
        }

        Assert.Equal(30 * 4, refused);
    }

    [Fact]
    public void A_quantization_is_cancelled_before_and_while_it_runs()
    {
        Assert.ThrowsAny<OperationCanceledException>(() => Columns.Kernels.Quantize<float>(Weights, N, K, cancellation: new CancellationToken(canceled: true)));
        using CancellationTokenSource source = new();
        CancellingSource weights = new(source);
        Assert.ThrowsAny<OperationCanceledException>(
            () => Columns.Kernels.Quantize(weights, new WeightQuantizationOptions { MaxDegreeOfParallelism = 1 }, source.Token));
        Assert.InRange(weights.RowsRead, 1, 200);
    }

    private static float[] Multiply(float[] a, Int8Weights int8)
    {
        float[] result = new float[M * N];
        Columns.Kernels.MatMul<float, float>(a, M, int8, result);
        return result;
    }

    private static void OnThreads(int count, Action<int> body)
    {
        Task[] tasks = [.. Enumerable.Range(0, count).Select(thread => Task.Factory.StartNew(
            () => body(thread), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        Assert.True(Task.WaitAll(tasks, TimeSpan.FromMinutes(2)), "The threads did not end.");
    }

    /// <summary>Many rows, the first of which cancels.</summary>
    private sealed class CancellingSource(CancellationTokenSource cancellation) : WeightSource("endless", 10_000, K)
    {
        public int RowsRead { get; private set; }

        public override Type ElementType => typeof(float);

        public override long Bytes => 0;

        public override void ReadRow(int row, Span<float> destination)
        {
            cancellation.Cancel();
            RowsRead++;
            destination.Fill(row + 1);
        }

        public override void ReadColumn(int column, int firstRow, Span<float> destination) => destination.Fill(1);
    }
}
