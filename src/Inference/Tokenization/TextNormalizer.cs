namespace KernelGen.Inference.Tokenization;

/// <summary>The normalizers of a tokenizer file, one after the other.</summary>
internal sealed class TextNormalizer(string file, IReadOnlyList<Func<string, string>> steps)
{
    /// <summary>No normalizer of a known model makes a text this much longer; a hostile one could make it as long as memory.</summary>
    private const int MostGrowth = 64;

    /// <summary>Normalizes a text.</summary>
    /// <exception cref="TokenizerException">It grows without measure.</exception>
    public ReadOnlySpan<char> Apply(ReadOnlySpan<char> text) => steps.Count == 0 ? text : Apply(text.ToString());

    /// <inheritdoc cref="Apply(ReadOnlySpan{char})"/>
    public string Apply(string text)
    {
        string result = text;
        foreach (Func<string, string> step in steps)
        {
            result = step(result);
            if (result.Length > (long)MostGrowth * (text.Length + MostGrowth))
            {
                throw TokenizerException.Invalid(file, $"its normalizers make a text of {text.Length} characters more than {MostGrowth} times as long.");
            }
        }

        return result;
    }
}
