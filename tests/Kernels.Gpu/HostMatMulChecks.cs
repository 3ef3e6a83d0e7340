using System.Runtime.InteropServices;
using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>Multiplication of host memory as a user calls it: every element type, row strides, many at once, cancellation, disposal.</summary>
internal sealed class HostMatMulChecks(CudaContext context, CudaStream stream, TextWriter log, List<string> failures)
{
    private const int M = 60, N = 200, K = 256;

    public void Run()
    {
        int before = failures.Count;
        foreach (Int8KernelSet set in CudaSpecs.All)
        {
            using CudaMatMul matMul = new(context.Device, set);
            using CudaCase data = new(context, stream, set, M, N, K, ElementFormat.Float16, seed: 5);
            using CudaWeights weights = matMul.Upload(data.Weights);
            Compare<Half, float>(matMul, data, weights);
            Compare<Half, Half>(matMul, data, weights);
            Compare<Half, BFloat16>(matMul, data, weights);
            using CudaCase single = new(context, stream, set, M, N, K, ElementFormat.Float32, seed: 6);
            using CudaWeights singleWeights = matMul.Upload(single.Weights);
            Compare<float, float>(matMul, single, singleWeights);
            using CudaCase brain = new(context, stream, set, M, N, K, ElementFormat.BFloat16, seed: 7);
            using CudaWeights brainWeights = matMul.Upload(brain.Weights);
            Compare<BFloat16, BFloat16>(matMul, brain, brainWeights);
            ManyAtOnce(matMul, data, weights);
            Cancelled(matMul, data, weights);
            Disposed(set, data);
            RowsAtOnce(set, matMul);
        }

        log.WriteLine($"host memory: {failures.Count - before} failures");
    }

    private void Compare<TInput, TOutput>(CudaMatMul matMul, CudaCase data, CudaWeights weights)
        where TInput : unmanaged
        where TOutput : unmanaged
    {
        const int InputStride = K + 3, OutputStride = N + 5;
        TInput[] values = MemoryMarshal.Cast<byte, TInput>(CudaCase.Encode(data.A, FormatOf<TInput>())).ToArray();
        TInput[] strided = new TInput[M * InputStride];
        for (int row = 0; row < M; row++)
        {
            values.AsSpan(row * K, K).CopyTo(strided.AsSpan(row * InputStride));
        }

        TOutput[] expected = Expected<TOutput>(data), plain = new TOutput[M * N], spread = new TOutput[M * OutputStride];
        matMul.MatMul<TInput, TOutput>(values, M, weights, plain, data.Bias);
        Check(plain, expected, $"{typeof(TInput).Name} to {typeof(TOutput).Name}");
        matMul.MatMulAsync<TInput, TOutput>(
            strided, M, weights, spread, data.Bias, new MatMulOptions { InputRowStride = InputStride, OutputRowStride = OutputStride }).Wait();
        for (int row = 0; row < M; row++)
        {
            Check<TOutput>(spread.AsSpan(row * OutputStride, N), expected.AsSpan(row * N, N), $"row {row} with strides, {typeof(TInput).Name} to {typeof(TOutput).Name}");
            Check<TOutput>(spread.AsSpan((row * OutputStride) + N, OutputStride - N), new TOutput[OutputStride - N], $"the gap after row {row}");
        }
    }

    private void ManyAtOnce(CudaMatMul matMul, CudaCase data, CudaWeights weights)
    {
        Half[] values = MemoryMarshal.Cast<byte, Half>(CudaCase.Encode(data.A, ElementFormat.Float16)).ToArray();
        float[] expected = Expected<float>(data);
        float[][] results = [.. Enumerable.Range(1, 24).Select(i => new float[Math.Min(i * 3, M) * N])];
        Task.WaitAll([.. results.Select(result => matMul.MatMulAsync<Half, float>(values, result.Length / N, weights, result, data.Bias))]);

        // Fewer rows: with columns decided by all rows the results may differ, but for those of all.
        foreach (float[] result in results.Where(result => result.Length == expected.Length))
        {
            Check(result, expected, "one of many at once");
        }
    }

    /// <summary>Single rows of several lengths side by side: launches of one kernel that need more shared memory than others of it.</summary>
    private void RowsAtOnce(Int8KernelSet set, CudaMatMul matMul)
    {
        CudaCase[] cases = [.. new[] { 136, 512, 1024, 1800 }.Select(k => new CudaCase(context, stream, set, 1, N, k, ElementFormat.Float16, seed: k))];
        CudaWeights[] weights = [.. cases.Select(data => matMul.Upload(data.Weights))];
        Half[][] rows = [.. cases.Select(static data => MemoryMarshal.Cast<byte, Half>(CudaCase.Encode(data.A, ElementFormat.Float16)).ToArray())], expected = [.. cases.Select(Expected<Half>)];
        Half[][] results = [.. Enumerable.Range(0, 64).Select(static _ => new Half[N])];
        Task.WaitAll([.. results.Select((result, i) => Task.Run(() => matMul.MatMulAsync<Half, Half>(rows[i % rows.Length], 1, weights[i % rows.Length], result, cases[i % rows.Length].Bias)))]);
        for (int i = 0; i < results.Length; i++)
        {
            Check(results[i], expected[i % rows.Length], $"a row of {cases[i % rows.Length].K} among others at once");
        }

        Array.ForEach(weights, static item => item.Dispose());
        Array.ForEach(cases, static item => item.Dispose());
    }

    private void Cancelled(CudaMatMul matMul, CudaCase data, CudaWeights weights)
    {
        Half[] values = new Half[M * K];
        float[] result = new float[M * N];
        result.AsSpan().Fill(-7);
        Task task = matMul.MatMulAsync<Half, float>(values, M, weights, result, data.Bias, cancellation: new CancellationToken(canceled: true));
        if (!task.IsCanceled || result.AsSpan().ContainsAnyExcept(-7))
        {
            failures.Add("a multiplication that was cancelled ran");
        }
    }

    private void Disposed(Int8KernelSet set, CudaCase data)
    {
        Half[] values = MemoryMarshal.Cast<byte, Half>(CudaCase.Encode(data.A, ElementFormat.Float16)).ToArray();
        float[] expected = Expected<float>(data);
        CudaMatMul matMul = new(context.Device, set, concurrency: 3);
        CudaWeights weights = matMul.Upload(data.Weights);
        float[][] results = [.. Enumerable.Range(0, 3).Select(_ => new float[M * N])];
        Task[] running = [.. results.Select(result => matMul.MatMulAsync<Half, float>(values, M, weights, result, data.Bias))];
        weights.Dispose();
        matMul.Dispose();
        Task.WaitAll(running);
        foreach (float[] result in results)
        {
            Check(result, expected, "disposed while it ran");
        }

        if (!matMul.MatMulAsync<Half, float>(values, M, weights, results[0], data.Bias).ContinueWith(static task => task.Exception?.InnerException is ObjectDisposedException).Result)
        {
            failures.Add("disposed weights were multiplied");
        }
    }

    private static TOutput[] Expected<TOutput>(CudaCase data)
        where TOutput : unmanaged => MemoryMarshal.Cast<byte, TOutput>(CudaCase.Encode(data.Expected(), FormatOf<TOutput>())).ToArray();

    private static ElementFormat FormatOf<T>() =>
        typeof(T) == typeof(float) ? ElementFormat.Float32 : typeof(T) == typeof(Half) ? ElementFormat.Float16 : ElementFormat.BFloat16;

    private void Check<T>(ReadOnlySpan<T> got, ReadOnlySpan<T> want, string what)
        where T : unmanaged
    {
        float[] a = CudaCase.Decode(MemoryMarshal.AsBytes(got).ToArray(), FormatOf<T>()), b = CudaCase.Decode(MemoryMarshal.AsBytes(want).ToArray(), FormatOf<T>());
        int wrong = Enumerable.Range(0, a.Length).FirstOrDefault(i => !(a[i] == b[i] || (float.IsNaN(a[i]) && float.IsNaN(b[i]))), -1);
        if (wrong >= 0)
        {
            failures.Add($"host memory, {what}: value {wrong} is {a[wrong]:R}, expected {b[wrong]:R}");
        }
    }

    private void Check<T>(T[] got, T[] want, string what)
        where T : unmanaged => Check<T>(got.AsSpan(), want.AsSpan(), what);
}
