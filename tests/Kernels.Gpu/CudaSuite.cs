using System.Collections.Concurrent;
using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// The whole kernel suite for one device. Its parts run side by side, each on a stream of its own: the oracles keep all processors busy, and what
/// kernels do must not depend on what else the device runs.
/// </summary>
internal sealed class CudaSuite : IDisposable
{
    private readonly CudaContext context;
    private readonly CudaStream stream;
    private readonly TextWriter log;
    private readonly CudaInt8MatMul[] sets;

    /// <param name="device">The device.</param>
    /// <param name="log">Told how far it is.</param>
    /// <param name="failures">Receives what goes wrong.</param>
    public CudaSuite(CudaDevice device, TextWriter log, List<string> failures)
    {
        Failures = failures;
        context = new CudaContext(device);
        stream = new CudaStream(context);
        this.log = TextWriter.Synchronized(log);
        sets = [.. CudaSpecs.All.Select(set => new CudaInt8MatMul(context, set.Spec, set.CudaVariants))];
    }

    private List<string> Failures { get; }

    /// <summary>One part of the suite: it queues on a stream of its own and lists what fails.</summary>
    /// <param name="Name">"layers SET", "rows SET", "decoder STEP", "failures" or "host".</param>
    /// <param name="IsAlone">Whether it needs the device for itself: it watches its memory, or how kernels follow each other, or queues from many threads.</param>
    /// <param name="Run">What it does.</param>
    private sealed record Part(string Name, bool IsAlone, Action<CudaStream, List<string>> Run);

    /// <summary>Runs everything.</summary>
    /// <param name="filter">What the names of the parts to run begin with.</param>
    public void Run(string filter)
    {
        List<Part> parts = Find(filter, briefly: false);
        List<string>[] found = [.. parts.Select(static _ => new List<string>())];
        Parallel.ForEach(Partitioner.Create(Enumerable.Range(0, parts.Count).Where(i => !parts[i].IsAlone), EnumerablePartitionerOptions.NoBuffering), i =>
        {
            using CudaStream own = new(context);
            Run(parts[i], own, found[i]);
        });
        Failures.AddRange(found.SelectMany(static failures => failures));
        foreach (Part part in parts.Where(static part => part.IsAlone))
        {
            Run(part, stream, Failures);
        }
    }

    /// <summary>
    /// Every kernel once on shapes with tails, one part after the other: what a checking tool that slows the device down hundredfold can get through.
    /// </summary>
    /// <param name="filter">As for <see cref="Run(string)"/>.</param>
    public void RunBriefly(string filter)
    {
        foreach (Part part in Find(filter, briefly: true))
        {
            Run(part, stream, Failures);
        }
    }

    public void Dispose()
    {
        Array.ForEach(sets, static matMul => matMul.Dispose());
        stream.Dispose();
        context.Dispose();
    }

    private static void Run(Part part, CudaStream stream, List<string> failures)
    {
        try
        {
            part.Run(stream, failures);
        }
        catch (Exception exception) when (exception is CudaException or ArgumentException or InvalidOperationException)
        {
            failures.Add($"{part.Name}: {exception.Message}");
        }
    }

    /// <summary>The parts whose names begin with a filter's words. That there are none is a failure.</summary>
    private List<Part> Find(string filter, bool briefly)
    {
        List<Part> found = [.. Parts(briefly).Where(part => $"{part.Name} ".StartsWith(filter.Length == 0 ? "" : $"{filter} ", StringComparison.Ordinal))];
        if (found.Count == 0)
        {
            Failures.Add($"no part is called '{filter}', but {string.Join(", ", Parts(briefly).Select(static part => part.Name).Distinct())} are");
        }

        return found;
    }

    private IEnumerable<Part> Parts(bool briefly)
    {
        for (int i = 0; i < sets.Length; i++)
        {
            (Int8KernelSet set, CudaInt8MatMul matMul) = (CudaSpecs.All[i], sets[i]);
            string name = set.Name[(set.Name.LastIndexOf('.') + 1)..];
            foreach ((bool isAlone, Action<LayerChecks> check) in briefly ? [(false, static checks => checks.RunBriefly())] : LayerChecks.For(set))
            {
                yield return new Part($"layers {name}", isAlone, (stream, failures) =>
                {
                    using CudaMatMulWorkspace workspace = new(context, stream);
                    check(new LayerChecks(context, stream, workspace, set, matMul, log, failures));
                });
            }

            yield return new Part($"rows {name}", false, (stream, failures) => new SingleRowChecks(context, stream, log, failures).Run(set, briefly));
        }

        foreach (DecoderStep step in DecoderSuite.StepsFor(context.Device, briefly))
        {
            yield return new Part($"decoder {step.Name}", false, (stream, failures) => new DecoderSuite(context, stream, log, failures).Run(step, briefly));
        }

        if (!briefly)
        {
            yield return new Part("failures", true, (_, _) => FailuresLeakNothing());
            yield return new Part("host", true, (stream, failures) => new HostMatMulChecks(context, stream, log, failures).Run());
        }
    }

    /// <summary>A thousand refused allocations and a thousand refused kernels: each an exception that says so, memory flat, the device alive.</summary>
    private void FailuresLeakNothing()
    {
        long before = context.Memory().Free;
        CudaKernelVariant broken = new("broken", CudaKernelRole.Quantize, 61, false, ElementFormat.Float16, 0, 0, false, 0, 0, static () => ".version 6.0 nonsense"u8);
        for (int i = 0; i < 1000; i++)
        {
            Expect(() => new CudaBuffer(context, 1L << 50).Dispose(), "bytes were asked for");
            Expect(() => new CudaKernel(context, broken).Dispose(), "PTX compiler says");
        }

        long lost = before - context.Memory().Free;
        if (lost > 1 << 20)
        {
            Failures.Add($"2000 failures cost {lost} bytes of device memory");
        }
    }

    private void Expect(Action action, string text)
    {
        try
        {
            action();
            Failures.Add($"no exception with '{text}'");
        }
        catch (CudaException exception)
        {
            if (!exception.Message.Contains(text, StringComparison.Ordinal))
            {
                Failures.Add($"'{exception.Message}' lacks '{text}'");
            }
        }
    }
}
