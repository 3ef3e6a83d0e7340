using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Conversion;

/// <summary>The files beside the weights that belong to the result as well: tokenizer, generation settings, model card.</summary>
internal static class CarriedFiles
{
    /// <summary>Weights, in whatever format: those are converted or of no use beside the converted ones.</summary>
    private static readonly string[] WeightEndings =
        [".safetensors", ".safetensors.index.json", ".bin.index.json", ".h5", ".msgpack", ".onnx", ".gguf", ".ot", ".tflite", ".npz", ".npy"];

    /// <summary>Lists them by name. Pickles, weights and hidden files are left out, folders too.</summary>
    /// <exception cref="CheckpointException">The folder cannot be read, or a file is a link that leads out of it.</exception>
    public static IReadOnlyList<string> List(CheckpointFolder source)
    {
        List<string> names = [];
        try
        {
            foreach (string path in Directory.EnumerateFiles(source.FullPath))
            {
                string name = Path.GetFileName(path);
                if (name[0] != '.' && name != ConfigReader.FileName && !PickleFiles.HasPickleExtension(name)
                    && !WeightEndings.Any(ending => name.EndsWith(ending, StringComparison.OrdinalIgnoreCase)))
                {
                    names.Add(name);
                }
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CheckpointException.For(source.FullPath, $"the folder cannot be read ({exception.Message}).", "Check that you may read it.", exception);
        }

        names.Sort(StringComparer.Ordinal);
        foreach (string name in names)
        {
            _ = source.Find(name);
        }

        return names;
    }

    /// <summary>Copies one, down to the disk.</summary>
    public static void Copy(CheckpointFolder source, string name, string targetFolder)
    {
        string from = source.Find(name) ?? throw CheckpointException.For(
            Path.Combine(source.FullPath, name), "the file vanished while the checkpoint was converted.", "Run the same command again.");
        string to = Path.Combine(targetFolder, name);
        using Stream input = OpenSource(from);
        OutputErrors.Named(to, () =>
        {
            using FileStream output = new(to, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
            input.CopyTo(output, 1 << 20);
            output.Flush(flushToDisk: true);
        });
    }

    private static Stream OpenSource(string path)
    {
        try
        {
            // Opening a pipe would wait for a writer; it has the length 0, as an empty file has.
            return SmallFile.LengthBeforeOpening(path) == 0
                ? Stream.Null
                : new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw CheckpointException.For(path, $"the file cannot be read ({exception.Message}).", "Check that you may read it.", exception);
        }
    }
}
