using System.Numerics;
using System.Runtime.InteropServices;
using KernelGen.Memory;

namespace KernelGen.Backends.Cpu;

/// <summary>
/// A weight matrix [N,K] (row = output feature) in the layout that <see cref="FloatGemm"/> reads: panels of <see cref="PanelWidth"/>
/// output features; in a panel, for each k, the panel's weights side by side. The stored type stays: a half takes 2 bytes, an int8 one.
/// </summary>
internal sealed unsafe class PackedFloatWeights : IDisposable
{
    private readonly AlignedBuffer<byte> _panels;

    private PackedFloatWeights(int outputFeatures, int inputFeatures, FloatWeightFormat format, int lanes, float[]? scales)
    {
        OutputFeatures = outputFeatures;
        InputFeatures = inputFeatures;
        Format = format;
        Lanes = lanes;
        Scales = scales;
        PanelCount = (outputFeatures + PanelWidth - 1) / PanelWidth;
        _panels = new AlignedBuffer<byte>((long)PanelCount * PanelWidth * inputFeatures * BytesPerWeight);
    }

    /// <summary>N.</summary>
    public int OutputFeatures { get; }

    /// <summary>K.</summary>
    public int InputFeatures { get; }

    /// <summary>The type of the stored weights.</summary>
    public FloatWeightFormat Format { get; }

    /// <summary>Floats per vector of the kernel that this was packed for: 4, 8 or 16.</summary>
    public int Lanes { get; }

    /// <summary>NR: output features per panel.</summary>
    public int PanelWidth => 2 * Lanes;

    /// <summary>Number of panels; the last is filled up with zeros.</summary>
    public int PanelCount { get; }

    /// <summary>For int8 weights the factor of each output feature (absmax / 127), else null.</summary>
    public float[]? Scales { get; }

    /// <summary>Bytes in memory: weights with their padding, and scales.</summary>
    public long Bytes => _panels.Bytes + ((Scales?.Length ?? 0) * sizeof(float));

    /// <summary>The first weight of the first panel; valid between <see cref="Hold"/> and <see cref="Release"/>.</summary>
    public byte* Panels => _panels.Held;

    private int BytesPerWeight => Format switch
    {
        FloatWeightFormat.Float32 => 4,
        FloatWeightFormat.Int8 => 1,
        _ => 2,
    };

    /// <summary>Frees the weights, as soon as nobody holds them.</summary>
    public void Dispose() => _panels.Dispose();

    /// <summary>Keeps the memory until <see cref="Release"/>, also where the weights are disposed meanwhile.</summary>
    /// <exception cref="ObjectDisposedException">The weights are disposed.</exception>
    public void Hold()
    {
        bool held = false;
        _panels.DangerousAddRef(ref held);
    }

    /// <summary>Ends one <see cref="Hold"/>.</summary>
    public void Release() => _panels.DangerousRelease();

    /// <summary>Packs float32 weights.</summary>
    /// <param name="weights">[N,K], row by row.</param>
    /// <param name="outputFeatures">N, at least 1.</param>
    /// <param name="inputFeatures">K, at least 1.</param>
    /// <param name="lanes">4, 8 or 16; 0 for what suits this processor.</param>
    /// <exception cref="ArgumentException">The number of weights is not N * K, or a size is out of range.</exception>
    public static PackedFloatWeights Pack(ReadOnlySpan<float> weights, int outputFeatures, int inputFeatures, int lanes = 0) =>
        Pack(weights, outputFeatures, inputFeatures, FloatWeightFormat.Float32, lanes, null);

    /// <summary>
    /// Packs half weights; see <see cref="Pack(ReadOnlySpan{float}, int, int, int)"/>. Weights with an infinity or a NaN among them are
    /// packed as float32: the fast widening is for finite halves, and such a matrix is broken anyway, but must not look sound.
    /// </summary>
    public static PackedFloatWeights Pack(ReadOnlySpan<Half> weights, int outputFeatures, int inputFeatures, int lanes = 0)
    {
        ReadOnlySpan<ushort> bits = MemoryMarshal.Cast<Half, ushort>(weights);
        if (AllFinite(bits))
        {
            return Pack(bits, outputFeatures, inputFeatures, FloatWeightFormat.Float16, lanes, null);
        }

        float[] widened = new float[weights.Length];
        for (int i = 0; i < widened.Length; i++)
        {
            widened[i] = (float)weights[i];
        }

        return Pack(widened, outputFeatures, inputFeatures, lanes);
    }

    /// <summary>Packs bfloat16 weights, given as bits; see <see cref="Pack(ReadOnlySpan{float}, int, int, int)"/>.</summary>
    public static PackedFloatWeights PackBFloat16(ReadOnlySpan<ushort> weights, int outputFeatures, int inputFeatures, int lanes = 0) =>
        Pack(weights, outputFeatures, inputFeatures, FloatWeightFormat.BFloat16, lanes, null);

    /// <summary>Packs int8 weights that stand for <c>q * absmax[n] / 127</c>; see <see cref="Pack(ReadOnlySpan{float}, int, int, int)"/>.</summary>
    public static PackedFloatWeights Pack(
        ReadOnlySpan<sbyte> weights, ReadOnlySpan<float> absmax, int outputFeatures, int inputFeatures, int lanes = 0)
    {
        if (absmax.Length != outputFeatures)
        {
            throw new ArgumentException($"{outputFeatures} output features need as many absmax values, not {absmax.Length}.", nameof(absmax));
        }

        float[] scales = new float[outputFeatures];
        for (int n = 0; n < scales.Length; n++)
        {
            scales[n] = absmax[n] / 127f;
        }

        return Pack(weights, outputFeatures, inputFeatures, FloatWeightFormat.Int8, lanes, scales);
    }

    /// <summary>Writes the weights of one output feature, as float32 and with its scale applied, in the order of k.</summary>
    /// <exception cref="ArgumentException">The feature does not exist or the destination is not K long.</exception>
    public void UnpackRow(int outputFeature, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(outputFeature);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(outputFeature, OutputFeatures);
        if (destination.Length != InputFeatures)
        {
            throw new ArgumentException($"A row has {InputFeatures} weights, the destination {destination.Length}.", nameof(destination));
        }

        long first = ((long)(outputFeature / PanelWidth) * InputFeatures * PanelWidth) + (outputFeature % PanelWidth);
        Hold();
        try
        {
            byte* panels = _panels.Held;
            for (int k = 0; k < destination.Length; k++)
            {
                long at = first + ((long)k * PanelWidth);
                destination[k] = Format switch
                {
                    FloatWeightFormat.Float32 => ((float*)panels)[at],
                    FloatWeightFormat.Float16 => (float)((Half*)panels)[at],
                    FloatWeightFormat.BFloat16 => BitConverter.UInt32BitsToSingle((uint)((ushort*)panels)[at] << 16),
                    _ => ((sbyte*)panels)[at] * Scales![outputFeature],
                };
            }
        }
        finally
        {
            Release();
        }
    }

    private static PackedFloatWeights Pack<T>(
        ReadOnlySpan<T> weights, int outputFeatures, int inputFeatures, FloatWeightFormat format, int lanes, float[]? scales)
        where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(outputFeatures, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(inputFeatures, 1);
        if (lanes is not (0 or 4 or 8 or 16))
        {
            throw new ArgumentOutOfRangeException(nameof(lanes), lanes, "4, 8 or 16 lanes, or 0 for what suits this processor.");
        }

        if (weights.Length != (long)outputFeatures * inputFeatures)
        {
            throw new ArgumentException(
                $"[{outputFeatures},{inputFeatures}] has {(long)outputFeatures * inputFeatures:N0} weights, not {weights.Length:N0}.", nameof(weights));
        }

        PackedFloatWeights packed = new(outputFeatures, inputFeatures, format, lanes == 0 ? FloatMicrokernel.PreferredLanes : lanes, scales);
        int width = packed.PanelWidth;
        T* panels = (T*)packed._panels.Pointer;
        fixed (T* fixedSource = weights)
        {
            T* source = fixedSource;
            CpuParallel.ForEach(packed.PanelCount, (long)outputFeatures * inputFeatures < (1 << 18) ? 1 : -1, panel =>
            {
                int firstRow = panel * width;
                int rows = Math.Min(width, outputFeatures - firstRow);
                T* rowsSource = source + ((long)firstRow * inputFeatures);
                T* destination = panels + ((long)firstRow * inputFeatures);

                // Transposed in squares, so that both sides stay in the cache.
                const int Square = 32;
                for (int start = 0; start < inputFeatures; start += Square)
                {
                    int end = Math.Min(start + Square, inputFeatures);
                    for (int row = 0; row < rows; row++)
                    {
                        T* from = rowsSource + ((long)row * inputFeatures);
                        for (int k = start; k < end; k++)
                        {
                            destination[((long)k * width) + row] = from[k];
                        }
                    }
                }
            });
        }

        GC.KeepAlive(packed);
        return packed;
    }

    private static bool AllFinite(ReadOnlySpan<ushort> halves)
    {
        const ushort Exponent = 0x7C00;
        Vector<ushort> exponent = new(Exponent);
        int i = 0;
        for (; i <= halves.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            if (Vector.EqualsAny(new Vector<ushort>(halves[i..]) & exponent, exponent))
            {
                return false;
            }
        }

        for (; i < halves.Length; i++)
        {
            if ((halves[i] & Exponent) == Exponent)
            {
                return false;
            }
        }

        return true;
    }
}
