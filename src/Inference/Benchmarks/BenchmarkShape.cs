using System.Globalization;

namespace KernelGen.Inference.Benchmarks;

/// <summary>The sizes of a linear layer: M rows of activations, K inputs, N outputs.</summary>
/// <param name="M">Rows of activations.</param>
/// <param name="K">Input features.</param>
/// <param name="N">Output features.</param>
internal readonly record struct BenchmarkShape(int M, int K, int N)
{
    /// <summary>Reads <c>MxKxN</c>.</summary>
    /// <param name="text">For example <c>128x4096x11008</c>.</param>
    /// <exception cref="FormatException">The text is not three positive numbers with an x between them.</exception>
    public static BenchmarkShape Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        string[] parts = text.Split('x');
        int[] sizes = new int[3];
        for (int i = 0; i < sizes.Length; i++)
        {
            if (parts.Length != sizes.Length
                || !int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out sizes[i])
                || sizes[i] < 1)
            {
                throw new FormatException($"'{text}' is not a shape MxKxN such as 128x4096x11008.");
            }
        }

        return new BenchmarkShape(sizes[0], sizes[1], sizes[2]);
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{M}x{K}x{N}");
}
