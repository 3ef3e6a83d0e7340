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
    private delegate void Part(CudaStream stream, List<string> failures);

    /// <summary>Runs everything.</summary>
    /// <param name="filter">Parts whose names hold it run: "layers SET", "rows SET", "decoder STEP", "failures", "host".</param>
    public void Run(string filter)
    {
        List<Part> parts = [.. Parts(filter, briefly: false)];
        if (parts.Count == 0 && !IsWanted("failures", filter) && !IsWanted("host", filter))
        {
            Failures.Add($"no part's name holds '{filter}'");
        }

        RunSideBySide(parts);

        // These watch the device's memory, or queue from many threads themselves.
        if (IsWanted("failures", filter))
        {
            FailuresLeakNothing();
        }

        if (IsWanted("host", filter))
        {
            new HostMatMulChecks(context, stream, log, Failures).Run();
        }
    }

    /// <summary>
    /// Every kernel once on shapes with tails, one part after the other: what a checking tool that slows the device down hundredfold can get through.
    /// </summary>
    /// <param name="filter">As for <see cref="Run"/>.</param>
    public void RunBriefly(string filter)
    {
        foreach (Part part in Parts(filter, briefly: true))
        {
            part(stream, Failures);
        }
    }

    public void Dispose()
    {
        Array.ForEach(sets, static matMul => matMul.Dispose());
        stream.Dispose();
        context.Dispose();
    }

    private static bool IsWanted(string name, string filter) => name.Contains(filter, StringComparison.Ordinal);

    private IEnumerable<Part> Parts(string filter, bool briefly)
    {
        for (int i = 0; i < sets.Length; i++)
        {
            (Int8KernelSet set, CudaInt8MatMul matMul) = (CudaSpecs.All[i], sets[i]);
            if (IsWanted($"layers {set.Name}", filter))
            {
                foreach (Action<LayerChecks> check in briefly ? [static checks => checks.RunBriefly()] : LayerChecks.For(set))
                {
                    yield return (stream, failures) =>
                    {
                        using CudaMatMulWorkspace workspace = new(context, stream);
                        check(new LayerChecks(context, stream, workspace, set, matMul, log, failures));
                    };
                }
            }

            if (IsWanted($"rows {set.Name}", filter))
            {
                yield return (stream, failures) => new SingleRowChecks(context, stream, log, failures).Run(set, briefly);
            }
        }

        foreach ((string Name, int Capability, bool UsesWgmma) step in DecoderSuite.StepsFor(context.Device, briefly).Where(step => IsWanted($"decoder {step.Name}", filter)))
        {
            yield return (stream, failures) => new DecoderSuite(context, stream, log, failures).Run(step, briefly);
        }
    }

    private void RunSideBySide(List<Part> parts)
    {
        List<string>[] failures = [.. parts.Select(static _ => new List<string>())];
        Parallel.ForEach(Partitioner.Create(Enumerable.Range(0, parts.Count), EnumerablePartitionerOptions.NoBuffering), i =>
        {
            try
            {
                using CudaStream own = new(context);
                parts[i](own, failures[i]);
            }
            catch (CudaException exception)
            {
                failures[i].Add(exception.Message);
            }
        });
        Failures.AddRange(failures.SelectMany(static part => part));
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
