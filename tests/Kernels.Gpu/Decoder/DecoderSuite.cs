using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Specs;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// The decoder's kernels on one device, each against an oracle in float64; what is promised bit for bit (quantization fused or apart, a row alone
/// or among others, a prompt in one piece or several) is compared bit for bit.
/// </summary>
internal sealed partial class DecoderSuite(CudaContext context, CudaStream stream, TextWriter log, List<string> failures)
{
    /// <summary>What is checked, the longest first, and whether also with the kernels of devices that have no wgmma, and whether for a checking tool too.</summary>
    private static readonly (string Name, Action<DecoderSuite, bool> Test, bool WithoutWgmma, bool Briefly)[] Steps =
    [
        ("prefill attention", static (suite, briefly) => suite.PrefillAttention(briefly), true, true),
        ("16-bit multiplication", static (suite, briefly) => suite.FloatGemms(briefly), true, true),
        ("int8 weights under 16-bit activations", static (suite, briefly) => suite.Int8WeightGemms(briefly), true, true),
        ("norms", static (suite, briefly) => suite.Norms(briefly), false, true),
        ("decode attention", static (suite, briefly) => suite.DecodeAttention(briefly), false, true),
        ("int8 cache", static (suite, briefly) => suite.Int8Cache(briefly), false, true),
        ("sampling", static (suite, briefly) => suite.Samples(briefly), false, true),
        ("embedding", static (suite, _) => suite.Embeddings(), false, true),
        ("gates", static (suite, _) => suite.Gates(), false, true),
        ("rotary positions and cache", static (suite, _) => suite.RotaryAndCache(), false, true),
        ("argmax", static (suite, _) => suite.ArgMaxes(), false, true),
        ("a step in a graph", static (suite, _) => suite.ReplayedSteps(), false, false),
        ("registers", static (suite, _) => suite.RegistersSuffice(), false, false),
    ];

    private CudaDecoderKernels kernels = null!;

    /// <summary>Every step for every generation of kernels that a device can run.</summary>
    /// <param name="device">The device.</param>
    /// <param name="briefly">Those for a checking tool alone.</param>
    public static IEnumerable<DecoderStep> StepsFor(CudaDevice device, bool briefly)
    {
        foreach (int capability in new[] { 80, 90 }.Where(capability => capability <= device.ComputeCapability))
        {
            foreach ((string name, Action<DecoderSuite, bool> test, bool withoutWgmma, _) in Steps.Where(step => step.Briefly || !briefly))
            {
                yield return new DecoderStep(name, capability, true, test);
                if (withoutWgmma && capability >= 90)
                {
                    // What devices of other capabilities multiply many rows by.
                    yield return new DecoderStep($"{name} without wgmma", capability, false, test);
                }
            }
        }
    }

    /// <summary>Runs a step.</summary>
    /// <param name="step">Which.</param>
    /// <param name="briefly">Small cases alone, for a checking tool.</param>
    public void Run(DecoderStep step, bool briefly)
    {
        using CudaDecoderKernels set = new(context, Decoder.DecoderKernels, step.Capability) { UsesWgmma = step.UsesWgmma };
        kernels = set;
        int before = failures.Count;
        step.Test(this, briefly);
        stream.Synchronize();
        log.WriteLine($"decoder, sm_{kernels.Capability}, {step.Name}: {failures.Count - before} failures");
    }

    private void RegistersSuffice() => Expect(kernels.LoadAll().All(static kernel => kernel.Resources().LocalBytes == 0), "a kernel keeps values in local memory");

    private void Expect(bool condition, string message)
    {
        if (!condition)
        {
            failures.Add($"decoder, sm_{kernels.Capability}: {message}");
        }
    }

    /// <summary>The first value that is further from its expectation than allowed, as a failure.</summary>
    private void Compare(string what, float[] got, double[] want, Func<int, double> allowed)
    {
        for (int i = 0; i < want.Length; i++)
        {
            bool agrees = double.IsNaN(want[i]) ? float.IsNaN(got[i]) : Math.Abs(got[i] - want[i]) <= allowed(i);
            if (!agrees)
            {
                Expect(false, $"{what}: [{i}] of {want.Length} is {got[i]:R}, expected {want[i]:R} within {allowed(i):G3}");
                return;
            }
        }
    }

    /// <summary>Half a unit in the last place of f16, and a little for what came before.</summary>
    private static double Half16(double value) => (Math.Abs(value) * 6e-4) + 4e-8;

    private static CudaMatrix Half16(ulong address, int stride) => new(address, ElementFormat.Float16, stride);

    private static CudaMatrix Single(ulong address, int stride) => new(address, ElementFormat.Float32, stride);
}

/// <summary>A step of the suite.</summary>
/// <param name="Name">What it is about.</param>
/// <param name="Capability">The generation of kernels.</param>
/// <param name="UsesWgmma">Whether those that use wgmma are among them.</param>
/// <param name="Test">Runs it, briefly or not.</param>
internal sealed record DecoderStep(string Name, int Capability, bool UsesWgmma, Action<DecoderSuite, bool> Test);
