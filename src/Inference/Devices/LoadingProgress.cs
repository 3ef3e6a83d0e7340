namespace KernelGen.Inference.Devices;

/// <summary>Counts the matrices that are loaded, on whatever device.</summary>
internal sealed class LoadingProgress(IProgress<double>? progress, int matrices)
{
    private int _loaded;

    public void Advance() => progress?.Report((double)++_loaded / matrices);
}
