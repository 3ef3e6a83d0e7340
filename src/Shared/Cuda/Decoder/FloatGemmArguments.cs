using System.Runtime.InteropServices;

namespace KernelGen;

/// <summary>The parameter block of the 16-bit GEMM kernels.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FloatGemmArguments
{
    /// <summary>f16 [M, K] with a row every InputStride elements.</summary>
    public ulong Input;

    /// <summary>f16, or s8 with steps, [N, K] with a row every WeightStride elements.</summary>
    public ulong Weights;

    /// <summary>f32 [N]; or 0.</summary>
    public ulong Bias;

    /// <summary>int8 weights, and 16-bit ones that stand for such: f32 [N padded to 256], what a feature's weights are multiples of; or 0.</summary>
    public ulong WeightSteps;

    /// <summary>[M, N] with a row every OutputStride elements, in the kernel's output type.</summary>
    public ulong Output;

    /// <summary>Rows.</summary>
    public uint M;

    /// <summary>Output features.</summary>
    public uint N;

    /// <summary>Input features, a multiple of 8.</summary>
    public uint K;

    /// <summary>Elements from one row of Input to the next, a multiple of 8.</summary>
    public uint InputStride;

    /// <summary>Elements from one row of Weights to the next, a multiple of 8; of int8 weights of 128, zeros beyond K.</summary>
    public uint WeightStride;

    /// <summary>Elements from one row of Output to the next.</summary>
    public uint OutputStride;

    /// <summary>An <see cref="KernelGen.Activation"/>.</summary>
    public uint Activation;
}
