namespace KernelGen.Inference.Checkpoints;

/// <summary>Recognizes checkpoints in Python's pickle format, which can run any program when they are loaded; none is ever opened.</summary>
internal static class PickleFiles
{
    private static readonly string[] Extensions = [".bin", ".pt", ".pth", ".ckpt", ".pkl"];

    /// <summary>True for the extensions that PyTorch's pickle checkpoints have.</summary>
    public static bool HasPickleExtension(string path) =>
        Extensions.Contains(Path.GetExtension(path), StringComparer.OrdinalIgnoreCase);

    /// <summary>The error for such a file.</summary>
    public static CheckpointException Refuse(string path) => CheckpointException.For(
        path,
        "this is a PyTorch pickle file; loading one can run any program, so it is refused.",
        "Convert it: load it in Python where you trust it, and save_pretrained(..., safe_serialization=True).");
}
