using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Specs;

namespace KernelGen.Kernels.Gpu;

/// <summary>
/// The decoder's kernels on one device, each against an oracle in float64; what is promised bit for bit (quantization fused or apart, a row alone
/// or among others, a prompt in one piece or several) is compared bit for bit.
/// </summary>
internal sealed partial class DecoderSuite(CudaContext context, CudaStream stream, TextWriter log, List<string> failures)
{
    private CudaDecoderKernels kernels = null!;
    private string filter = "";

    /// <summary>The generations of kernels that a device can run.</summary>
    public static IEnumerable<int> CapabilitiesFor(CudaDevice device) => new[] { 80, 90 }.Where(capability => capability <= device.ComputeCapability);

    /// <summary>Everything, with the kernels of one generation.</summary>
    /// <param name="capability">Which generation.</param>
    /// <param name="briefly">Small cases alone, for a checking tool.</param>
    /// <param name="filter">What the names of the steps to run hold.</param>
    public void Run(int capability, bool briefly, string filter)
    {
        this.filter = filter;
        using CudaDecoderKernels set = new(context, Decoder.DecoderKernels, capability);
        kernels = set;
        Step("embedding", Embeddings);
        Step("norms", () => Norms(briefly));
        Step("gates", Gates);
        Step("rotary positions and cache", RotaryAndCache);
        Step("decode attention", () => DecodeAttention(briefly));
        Step("int8 cache", () => Int8Cache(briefly));
        Step("prefill attention", () => PrefillAttention(briefly));
        Step("16-bit multiplication", () => FloatGemms(briefly));
        Step("int8 weights under 16-bit activations", () => Int8WeightGemms(briefly));
        Step("argmax", ArgMaxes);
        Step("sampling", () => Samples(briefly));
        if (capability >= 90)
        {
            // What devices of other capabilities multiply many rows by.
            using CudaDecoderKernels others = new(context, Decoder.DecoderKernels, capability) { UsesWgmma = false };
            kernels = others;
            Step("16-bit multiplication without wgmma", () => FloatGemms(briefly));
            Step("int8 weights without wgmma", () => Int8WeightGemms(briefly));
            Step("prefill attention without wgmma", () => PrefillAttention(briefly));
            kernels = set;
        }

        if (!briefly)
        {
            Step("a step in a graph", ReplayedSteps);
            Step("registers", () => Expect(set.LoadAll().All(kernel => kernel.Resources().LocalBytes == 0), "a kernel keeps values in local memory"));
        }
    }

    private void Step(string name, Action test)
    {
        if (!$"decoder {name}".Contains(filter, StringComparison.Ordinal))
        {
            return;
        }

        int before = failures.Count;
        try
        {
            test();
            stream.Synchronize();
        }
        catch (Exception exception) when (exception is CudaException or ArgumentException or InvalidOperationException)
        {
            failures.Add($"{name} (sm_{kernels.Capability}): {exception.Message}");
        }

        log.WriteLine($"decoder, sm_{kernels.Capability}, {name}: {failures.Count - before} failures");
    }

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
