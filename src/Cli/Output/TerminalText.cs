namespace KernelGen.Cli.Output;

/// <summary>Text from a model or a file, made safe for a terminal.</summary>
internal static class TerminalText
{
    /// <summary>Replaces control characters, which could recolour the terminal or move its cursor; line ends and tabs stay.</summary>
    public static string Clean(string text) => string.Create(text.Length, text, static (target, source) =>
    {
        for (int i = 0; i < source.Length; i++)
        {
            target[i] = char.IsControl(source[i]) && source[i] is not ('\n' or '\t') ? '\uFFFD' : source[i];
        }
    });
}
