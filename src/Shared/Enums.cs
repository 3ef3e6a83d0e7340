namespace KernelGen;

/// <summary>Which activations leave the int8 part and are multiplied in 16 bits (arXiv 2208.07339, section 3.2).</summary>
public enum OutlierPolicy
{
    /// <summary>Every activation is quantized.</summary>
    None,

    /// <summary>
    /// The paper's rule: a column <c>k</c> with any <c>|A[m,k]| >= threshold</c> leaves the int8 part whole, for every row of the batch,
    /// and leaves the rows' absmax too.
    /// </summary>
    Columns,

    /// <summary>
    /// Decided per row: only the values with <c>|A[m,k]| >= threshold</c> leave, so with a scale per row a row's result never depends on the
    /// rows beside it.
    /// </summary>
    Elements,

    /// <summary>A calibrated set of columns, given when the weights are quantized, whose 16-bit weights are kept beside the int8 ones.</summary>
    Fixed,
}

/// <summary>How many scales the operands of a multiplication have (arXiv 2208.07339, section 3.1).</summary>
public enum QuantizationGranularity
{
    /// <summary>One scale for all of A and one for all of B ("absmax").</summary>
    Tensor,

    /// <summary>One scale per row of A and one for all of B ("row-wise").</summary>
    Row,

    /// <summary>One scale per row of A and one per output feature of B ("vector-wise").</summary>
    Vector,
}

/// <summary>How activations map to int8.</summary>
public enum ActivationQuantization
{
    /// <summary><c>q = round(x * 127 / absmax)</c>, in [-127,127].</summary>
    Symmetric,

    /// <summary>
    /// <c>q = round(x / s) + z</c> with <c>s = (max - min) / 254</c>; the range always includes zero. A one-sided input such as a ReLU's
    /// output uses all 255 levels.
    /// </summary>
    ZeroPoint,
}

/// <summary>The integer type that sums the products of int8 values.</summary>
public enum Accumulation
{
    /// <summary>Exact up to the K at which 32 bits could overflow; a longer K is refused.</summary>
    Int32,

    /// <summary>Exact up to K = 16,909,320: sums of K slices that fit 32 bits are added in 64 bits.</summary>
    Int64,
}

/// <summary>The kinds of device that kernels are generated for.</summary>
[System.Flags]
public enum KernelTargets
{
    /// <summary>SIMD kernels for the processor. Portable scalar code is always among them.</summary>
    Cpu = 1,

    /// <summary>PTX for NVIDIA GPUs: dp4a (sm_61), mma.sync (sm_80) and wgmma (sm_90a). Its text is 2.2 MB per class without outliers, 4.6 MB with outlier columns.</summary>
    Cuda = 2,

    /// <summary>
    /// Kernels for the ILGPU library: GPUs of every maker through OpenCL, NVIDIA's through CUDA, and an accelerator on the processor to debug on.
    /// Generated where the project references ILGPU.
    /// </summary>
    Ilgpu = 4,

    /// <summary>Every target that the project has what it needs for.</summary>
    All = Cpu | Cuda | Ilgpu,
}

/// <summary>The instruction sets that CPU kernels are specialized for.</summary>
public enum CpuInstructionSet
{
    /// <summary>Portable C#, no vector instruction.</summary>
    Scalar,

    /// <summary>x86-64 with AVX2 and FMA: <c>vpmaddwd</c> on weights widened to 16 bits.</summary>
    Avx2,

    /// <summary>x86-64 with AVX2 and FMA: <c>vpmaddubsw</c> on weights that are packed so that no pair of products saturates.</summary>
    Avx2Bytes,

    /// <summary>x86-64 with AVX2 and AVX-VNNI: <c>vpdpbusd</c> on 256-bit vectors.</summary>
    AvxVnni,

    /// <summary>x86-64 with AVX-512 F, BW and VL: <c>vpmaddwd</c> on 512-bit vectors.</summary>
    Avx512,

    /// <summary>
    /// x86-64 with AVX-512 F, BW, VL and VNNI: <c>vpdpbusd</c> on 512-bit vectors, in machine code, since .NET has no class for it. Linux and Windows, where the process
    /// may map executable memory.
    /// </summary>
    Avx512Vnni,

    /// <summary>x86-64 with AVX-512 VNNI and AMX-INT8: <c>tdpbusd</c> on tiles of 16 rows, in machine code. Linux, where the process may map executable memory.</summary>
    Amx,

    /// <summary>Arm64 with AdvSimd and the dot product extension: <c>sdot</c>.</summary>
    ArmDp,
}

/// <summary>How a row of quantized activations lies in memory for a CPU kernel.</summary>
public enum ActivationFormat
{
    /// <summary>One signed byte a value.</summary>
    Int8,

    /// <summary>One unsigned byte a value, <c>q + 128</c>; the kernel subtracts <c>128 * sum(w)</c>, which the weight panels carry.</summary>
    UInt8,

    /// <summary>One 16-bit value, for instructions that multiply pairs of 16-bit numbers.</summary>
    Int16,
}

/// <summary>The function applied to a result before it is rounded to the output type.</summary>
public enum Activation
{
    /// <summary>The result itself.</summary>
    None,

    /// <summary><c>max(x, 0)</c>; NaN stays NaN.</summary>
    Relu,

    /// <summary><c>x * Phi(x)</c>, with the error function (arXiv 1606.08415).</summary>
    Gelu,

    /// <summary>The tanh approximation of GELU, which GPT-2 and BLOOM use (arXiv 1606.08415, section 2).</summary>
    GeluTanh,

    /// <summary><c>x * sigmoid(x)</c> (arXiv 1702.03118).</summary>
    Silu,
}
