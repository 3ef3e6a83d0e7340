using KernelGen.Inference.Devices;

namespace KernelGen.Cli.Models;

/// <summary>How a model is loaded and run, as the command line says it.</summary>
/// <param name="Threshold">The outlier threshold; null for the scheme's own.</param>
/// <param name="Threads">Most threads of the processor; null for one per processor.</param>
/// <param name="Devices">The GPUs that run the model; null for the processor.</param>
/// <param name="FixedOutliers">Calibrated outlier columns for the scheme that takes them; null for those stored in the checkpoint.</param>
/// <param name="Cache">How GPUs hold keys and values.</param>
internal sealed record ModelSettings(float? Threshold, int? Threads, ModelDevices? Devices, FixedOutlierSet? FixedOutliers = null, CacheFormat Cache = CacheFormat.Float16);
