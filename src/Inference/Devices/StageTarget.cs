namespace KernelGen.Inference.Devices;

/// <summary>Where a part of a model is to go.</summary>
/// <param name="Device">The GPU.</param>
/// <param name="OwnContext">For tests: whether the part has a context of its own, so that one GPU can stand for several.</param>
/// <param name="FreeBytes">For tests: how much of its memory is said to be free; null for what is.</param>
internal readonly record struct StageTarget(CudaDevice Device, bool OwnContext = false, long? FreeBytes = null);
