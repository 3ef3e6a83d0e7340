namespace KernelGen.Kernels.Specs;

/// <summary>LLM.int8() as in the paper: outlier columns from 6 in 16 bits, the rest vector-wise int8 (arXiv 2208.07339).</summary>
[Int8Kernel(Targets = KernelTargets.All)]
public static partial class LlmInt8;

/// <summary>LLM.int8() with outliers decided per element, so that a row's result never depends on the rows beside it.</summary>
[Int8Kernel(Outliers = OutlierPolicy.Elements, Targets = KernelTargets.All)]
public static partial class LlmInt8Elements;

/// <summary>LLM.int8() with a calibrated set of outlier columns.</summary>
[Int8Kernel(Outliers = OutlierPolicy.Fixed)]
public static partial class LlmInt8Fixed;

/// <summary>One scale for all activations and one for all weights: the simplest int8, which outliers ruin.</summary>
[Int8Kernel(Outliers = OutlierPolicy.None, Granularity = QuantizationGranularity.Tensor)]
public static partial class Absmax;

/// <summary>A scale per row of activations, one for all weights.</summary>
[Int8Kernel(Outliers = OutlierPolicy.None, Granularity = QuantizationGranularity.Row)]
public static partial class AbsmaxRow;

/// <summary>A scale per row of activations and per output feature.</summary>
[Int8Kernel(Outliers = OutlierPolicy.None, Targets = KernelTargets.All)]
public static partial class AbsmaxVector;

/// <summary>Vector-wise, activations with a zero-point.</summary>
[Int8Kernel(Outliers = OutlierPolicy.None, Activations = ActivationQuantization.ZeroPoint)]
public static partial class ZeroPointVector;
