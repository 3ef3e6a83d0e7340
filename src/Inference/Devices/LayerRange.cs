namespace KernelGen.Inference.Devices;

/// <summary>Neighbouring layers of a decoder.</summary>
/// <param name="First">The first.</param>
/// <param name="Count">How many there are.</param>
internal readonly record struct LayerRange(int First, int Count)
{
    /// <summary>The layer after the last.</summary>
    public int End => First + Count;
}
