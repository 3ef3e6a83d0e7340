using System.Diagnostics;
using System.Diagnostics.Metrics;
using KernelGen.Observability;
using KernelGen.Tests;
using KernelGen.Tuning;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>What multiplications and tuning tell of themselves, and that it costs nothing where nobody listens. Listeners hear the whole process.</summary>
[Collection(nameof(ObservabilityTests))]
[CollectionDefinition(nameof(ObservabilityTests), DisableParallelization = true)]
public sealed class ObservabilityTests
{
    private const int M = 3, N = 32, K = 64;

    private static readonly MatMulOptions OneThread = new() { MaxDegreeOfParallelism = 1 };

    [Fact]
    public void A_multiplication_is_measured_with_its_kernels_and_instruction_set()
    {
        float[] a = Matrices.Flatten(Matrices.WithOutlierColumns(new Random(1), M, K, 2)), result = new float[M * N];
        using Measurements heard = new();
        using Int8Weights int8 = Columns.Kernels.Quantize<float>(new float[N * K], N, K);
        Columns.Kernels.MatMul<float, float>(a, M, int8, result);

        KeyValuePair<string, object?>[] tags = [new("kernelgen.kernels", Columns.Kernels.Name), new("kernelgen.device", int8.Family.InstructionSet.ToString())];
        Assert.Equal(tags, heard.Single("kernelgen.matmul.rows", 3).Tags);
        Assert.Equal(tags, heard.Single("kernelgen.matmul.outlier_columns", 2).Tags);
        Assert.Equal(tags, heard.Single("kernelgen.quantization.weights", N * K).Tags);
        Assert.InRange(heard.Single("kernelgen.matmul.duration").Value, 1e-9, 60);
        Assert.InRange(heard.Single("kernelgen.quantization.duration").Value, 1e-9, 60);
    }

    [Fact]
    public void A_multiplication_that_is_refused_is_not_counted()
    {
        using Measurements heard = new();
        using Int8Weights int8 = Columns.Kernels.Quantize<float>(new float[N * K], N, K);
        Assert.Throws<ArgumentException>(() => Columns.Kernels.MatMul<float, float>(new float[5], M, int8, new float[M * N]));
        Assert.Empty(heard.Of("kernelgen.matmul.rows"));
    }

    [Fact]
    public void Where_nobody_listens_a_measurement_allocates_nothing()
    {
        using Int8Weights int8 = Columns.Kernels.Quantize<float>(new float[N * K], N, K);
        Measure(int8, 100);

        // One of many runs counted 32,664 bytes, near a thread's allocation context of 32 KB, which a collection meanwhile takes away; what allocates does so every time.
        long[] tries = [.. Enumerable.Range(0, 5).Select(_ => Allocated(() => Measure(int8, 10_000)))];
        Assert.True(tries.Count(static bytes => bytes == 0) >= 4, string.Join(", ", tries));
    }

    [Fact]
    public void Whether_somebody_listens_does_not_show_in_what_a_multiplication_allocates()
    {
        const int Calls = 500;
        float[] a = new float[M * K], result = new float[M * N];
        using Int8Weights int8 = NoOutliers.Kernels.Quantize<float>(new float[N * K], N, K);
        int heard = 0;
        long alone = 0, listened = 0;

        // Until the compiler has done with the code: what it optimizes allocates less.
        for (int round = 0; round < 20 && (round == 0 || alone != listened); round++)
        {
            Multiply(Calls);
            Thread.Sleep(100);
            alone = Allocated(() => Multiply(Calls));
            using MeterListener listener = new();
            listener.InstrumentPublished = static (instrument, listener) =>
            {
                if (instrument.Meter.Name == KernelGenDiagnostics.MeterName)
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            };
            listener.SetMeasurementEventCallback<double>((_, _, _, _) => heard++);
            listener.SetMeasurementEventCallback<long>((_, _, _, _) => heard++);
            listener.SetMeasurementEventCallback<int>((_, _, _, _) => heard++);
            listener.Start();
            Multiply(1);
            heard = 0;
            listened = Allocated(() => Multiply(Calls));
        }

        Assert.Equal(3 * Calls, heard);
        Assert.Equal(alone, listened);

        void Multiply(int calls)
        {
            for (int i = 0; i < calls; i++)
            {
                NoOutliers.Kernels.MatMul<float, float>(a, M, int8, result, default, OneThread);
            }
        }
    }

    [Fact]
    public void Tuning_a_shape_is_an_activity_a_time_a_count_of_variants_and_a_log_entry()
    {
        using Activities activities = new();
        using Measurements heard = new();
        using LogEntries log = new();
        TuningRecord record = Tuner.Tune(() => new CpuTuningWorkload(Columns.Kernels, M, N, K), ceilings: null);

        Activity activity = Assert.Single(activities.Ended, static activity => activity.OperationName == "kernelgen.tune");
        Assert.Equal(Columns.Kernels.Name, activity.GetTagItem("kernelgen.kernels"));
        Assert.Equal(record.Key.Target.Device.Name, activity.GetTagItem("kernelgen.device"));
        Assert.Equal((M, N, K), (activity.GetTagItem("kernelgen.rows"), activity.GetTagItem("kernelgen.output_features"), activity.GetTagItem("kernelgen.input_features")));
        Assert.Equal((record.Chosen, record.Untuned), (activity.GetTagItem("kernelgen.chosen"), activity.GetTagItem("kernelgen.untuned")));
        Assert.Equal(ActivityStatusCode.Unset, activity.Status);
        Assert.Equal(record.Seconds, heard.Single("kernelgen.tuning.duration").Value);
        Assert.Equal(record.Variants.Count, heard.Of("kernelgen.tuning.variants").Sum(static variants => variants.Value));
        Assert.Contains(heard.Of("kernelgen.tuning.variants"), static variants => variants.Tags.Contains(new("kernelgen.outcome", "Finalist")));
        LogEntry entry = Assert.Single(log.Entries, static entry => entry.Id == 100);
        Assert.Equal(("KernelGen.Tuning", LogLevel.Information), (entry.Category, entry.Level));
        Assert.StartsWith($"Tuned {M}x{K}x{N} of {Columns.Kernels.Name} on {record.Key.Target.Device.Name}: {record.Chosen} at ", entry.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tuning_that_is_cancelled_is_an_activity_that_failed()
    {
        using Activities activities = new();
        Assert.ThrowsAny<OperationCanceledException>(static () => Tuner.Tune(
            static () => new CpuTuningWorkload(Columns.Kernels, M, N, K), ceilings: null, cancellation: new CancellationToken(canceled: true)));
        Activity activity = Assert.Single(activities.Ended);
        Assert.Equal(ActivityStatusCode.Error, activity.Status);
        Assert.Equal("System.OperationCanceledException", activity.GetTagItem("error.type"));
    }

    [Fact]
    public void A_shape_that_is_tuned_reports_its_progress_and_is_kept()
    {
        using CacheFolderScope cache = new();
        List<TuningProgress> progress = [];
        TunedShape tuned = KernelTuning.Tune(NoOutliers.Kernels, M, N, K, new Immediate<TuningProgress>(progress.Add));
        Assert.Equal(1, progress[^1].Share);
        Assert.True(progress.Zip(progress.Skip(1)).All(static pair => pair.First.Share <= pair.Second.Share));
        Assert.InRange(tuned.Microseconds, 0.01, 1e6);
        TuningRecord record = Assert.Single(KernelTuning.Database!.Load().Records);
        Assert.Equal((tuned.Chosen, tuned.Untuned), (record.Chosen, record.Untuned));
        Assert.Contains(KernelTuning.Records.All, known => known.Key == record.Key);
    }

    [Fact]
    public void Records_that_cannot_be_read_are_a_warning()
    {
        using CacheFolderScope cache = new();
        using LogEntries log = new();
        string folder = KernelTuning.Folder!;
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, new string('a', 32) + ".json"), "{");
        KernelTuning.Reload();
        LogEntry entry = Assert.Single(log.Entries);
        Assert.Equal(("KernelGen.Tuning", 101, LogLevel.Warning), (entry.Category, entry.Id, entry.Level));
        Assert.StartsWith("Tuning records: 1 of ", entry.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_launch_on_a_GPU_costs_nothing_where_nobody_listens()
    {
        // Nobody asks for the device's name either.
        Assert.Equal(0, Allocated(static () =>
        {
            for (int i = 0; i < 10_000; i++)
            {
                CudaInstruments.Launched(null!, "kernel");
                CudaInstruments.LaunchedGraph(null!);
                CudaInstruments.StopMultiplication(CudaInstruments.StartMultiplication(), null!, "kernels");
            }
        }));
    }

    [Fact]
    public void The_logger_factory_cannot_be_null() => Assert.Throws<ArgumentNullException>(static () => KernelGenDiagnostics.LoggerFactory = null!);

    [Fact]
    public void Every_instrument_and_activity_is_documented()
    {
        string page = File.ReadAllText(Path.Combine(RepositoryPaths.Root, "docs", "observability.md"));
        List<Instrument> published = [];
        using MeterListener listener = new();
        listener.InstrumentPublished = (instrument, _) =>
        {
            if (instrument.Meter.Name == KernelGenDiagnostics.MeterName)
            {
                published.Add(instrument);
            }
        };
        System.Runtime.CompilerServices.RuntimeHelpers.RunClassConstructor(typeof(MatMulInstruments).TypeHandle);
        System.Runtime.CompilerServices.RuntimeHelpers.RunClassConstructor(typeof(CudaInstruments).TypeHandle);
        System.Runtime.CompilerServices.RuntimeHelpers.RunClassConstructor(typeof(TuningInstruments).TypeHandle);
        listener.Start();
        Assert.Equal(11, published.Count);
        Assert.All(published, instrument => Assert.Contains($"| `{instrument.Name}` | ", page, StringComparison.Ordinal));
        Assert.All(published, instrument => Assert.Contains($" | {instrument.Unit} | ", Line(page, instrument.Name), StringComparison.Ordinal));
        Assert.Contains("`kernelgen.tune`", page, StringComparison.Ordinal);
    }

    private static string Line(string page, string name) => page.Split('\n').Single(line => line.StartsWith($"| `{name}` |", StringComparison.Ordinal));

    private static void Measure(Int8Weights int8, int calls)
    {
        for (int i = 0; i < calls; i++)
        {
            MatMulInstruments.StopMultiplication(MatMulInstruments.StartMultiplication(), Columns.Kernels, int8.Family, M, 1);
            TuningInstruments.Start()?.Dispose();
        }
    }

    private static long Allocated(Action action)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        action();
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    /// <summary>A folder of its own for tuning records.</summary>
    private sealed class CacheFolderScope : IDisposable
    {
        private readonly string? _before = Environment.GetEnvironmentVariable(CacheFolder.Variable);
        private readonly string _folder = Directory.CreateTempSubdirectory("kernelgen-cache-").FullName;

        public CacheFolderScope()
        {
            Environment.SetEnvironmentVariable(CacheFolder.Variable, _folder);
            KernelTuning.Reload();
        }

        public void Dispose()
        {
            Environment.SetEnvironmentVariable(CacheFolder.Variable, _before);
            KernelTuning.Reload();
            Directory.Delete(_folder, recursive: true);
        }
    }

    private sealed class Immediate<T>(Action<T> report) : IProgress<T>
    {
        public void Report(T value) => report(value);
    }
}
