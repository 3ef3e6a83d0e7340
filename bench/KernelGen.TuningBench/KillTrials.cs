using System.Diagnostics;
using System.Globalization;
using KernelGen.Tuning;

namespace KernelGen.TuningBench;

/// <summary>
/// Processes that store records as fast as they can, some of them with the same keys, until each is killed at a random moment. After every round the
/// database must load without a damaged file, and hold every record of which a process had said that it is stored.
/// </summary>
internal static class KillTrials
{
    /// <summary>Keys that all processes write, beside those of their own.</summary>
    private const int SharedKeys = 4, OwnKeys = 40;

    private const int SharedWorker = 0;

    public static int Run(int rounds, int processes, int seed)
    {
        Random random = new(seed);
        TuningDatabase database = new(Path.Combine(Path.GetTempPath(), $"kernelgen-tuning-trials-{Environment.ProcessId}"));
        long acknowledged = 0;
        int killedWhileWriting = 0;
        try
        {
            for (int round = 1; round <= rounds; round++)
            {
                Worker[] workers = [.. Enumerable.Range(1, processes).Select(worker => new Worker(database.Folder, round, worker))];
                Array.ForEach(workers, static worker => worker.WaitUntilStoring());
                foreach (Worker worker in workers.OrderBy(_ => random.Next()))
                {
                    Thread.Sleep(random.Next(0, 25));
                    worker.Kill();
                }

                Array.ForEach(workers, static worker => worker.Finish());
                TuningContent content = database.Load();
                if (content.Warning is { } warning)
                {
                    Console.WriteLine($"round {round}: {warning}");
                    return 1;
                }

                Dictionary<(int N, int K), double> stored = content.Records.ToDictionary(static record => (record.Key.N, record.Key.K), static record => record.Seconds);
                foreach (Worker worker in workers)
                {
                    foreach ((int n, int k, double stamp) in worker.Stored)
                    {
                        // A key of its own holds what it stored last, or what it was about to say when it was killed; a shared one whatever came last.
                        if (!stored.TryGetValue((n, k), out double found) || (n != SharedWorker + 1 && found < stamp) || (n == SharedWorker + 1 && Math.Floor(found / 1e6) != round))
                        {
                            Console.WriteLine($"round {round}: the record of N = {n}, K = {k}, stamp {stamp} was stored and is not there");
                            return 1;
                        }
                    }
                }

                acknowledged += workers.Sum(static worker => worker.Stored.Count);
                killedWhileWriting += Directory.GetFiles(database.Folder, "*.tmp").Length;
                foreach (string leftover in Directory.GetFiles(database.Folder, "*.tmp"))
                {
                    File.Delete(leftover);
                }

                if (round % 20 == 0)
                {
                    Console.WriteLine($"{round} rounds: {acknowledged} records stored, {killedWhileWriting} writes cut short by a kill, {content.Records.Count} files, none damaged or lost");
                }
            }

            return 0;
        }
        finally
        {
            Directory.Delete(database.Folder, recursive: true);
        }
    }

    /// <summary>The part of one process: stores until it is killed, and says so after each record.</summary>
    public static int Store(string folder, int round, int worker)
    {
        TuningDatabase database = new(folder);
        for (int i = 0; ; i++)
        {
            bool shared = i % 5 == 4;
            (int n, int k) = shared ? (SharedWorker + 1, 1 + (i / 5 % SharedKeys)) : (worker + 1, 1 + (i % OwnKeys));
            double stamp = (round * 1e6) + i;
            database.Store(RecordOf(n, k, stamp));
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{n} {k} {stamp}"));
        }
    }

    private static TuningRecord RecordOf(int n, int k, double stamp)
    {
        TuningTarget target = new(new TuningDevice(TuningDevice.Cpu, "trial", "none", 1), "Trial", "0", "0", "0", ElementFormat.Float32);

        // As large as real ones, so that writes take long enough to be cut short.
        VariantResult[] variants = [.. Enumerable.Range(0, 80).Select(i => new VariantResult(
            $"variant_{i}", "group", VariantOutcome.Finalist, null, TuningTiming.Of(Enumerable.Range(1, 12).Select(sample => (i * 10.25) + sample))))];
        return new TuningRecord(
            new TuningKey(target, "", "", 0, n, k), 1, 0, null, "variant_0", "variant_0", variants, stamp, new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc));
    }

    private sealed class Worker
    {
        private readonly Process _process;
        private readonly Task _reading;
        private readonly ManualResetEventSlim _storing = new();

        public Worker(string folder, int round, int worker)
        {
            ProcessStartInfo start = new(Environment.ProcessPath!, [
                .. Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? [typeof(KillTrials).Assembly.Location] : Array.Empty<string>(),
                "store", folder, round.ToString(CultureInfo.InvariantCulture), worker.ToString(CultureInfo.InvariantCulture)])
            {
                RedirectStandardOutput = true,
            };
            _process = Process.Start(start)!;
            _reading = Task.Run(Read);
        }

        /// <summary>What it said it had stored: N, K and the stamp.</summary>
        public List<(int N, int K, double Stamp)> Stored { get; } = [];

        public void WaitUntilStoring() => _storing.Wait();

        public void Kill() => _process.Kill();

        public void Finish()
        {
            _reading.Wait();
            _process.WaitForExit();
            _process.Dispose();
        }

        private void Read()
        {
            // A line that the kill cut short is no promise.
            while (_process.StandardOutput.ReadLine() is { } line)
            {
                string[] parts = line.Split(' ');
                if (parts.Length == 3 && double.TryParse(parts[2], CultureInfo.InvariantCulture, out double stamp) && stamp >= 1e6)
                {
                    Stored.Add((int.Parse(parts[0], CultureInfo.InvariantCulture), int.Parse(parts[1], CultureInfo.InvariantCulture), stamp));
                    _storing.Set();
                }
            }

            _storing.Set();
        }
    }
}
