namespace KernelGen.Inference.Conversion;

/// <summary>How far a conversion is.</summary>
/// <param name="BytesDone">Bytes of the source's tensors that are converted, those of an earlier run included.</param>
/// <param name="BytesTotal">Bytes of all of the source's tensors.</param>
/// <param name="BytesPerSecond">The rate of this run; 0 as long as there is none.</param>
/// <param name="TimeLeft">The estimated time to the end; null as long as there is no rate.</param>
/// <param name="Stage">What is going on, such as the name of a tensor.</param>
public readonly record struct ConversionProgress(long BytesDone, long BytesTotal, double BytesPerSecond, TimeSpan? TimeLeft, string Stage);
