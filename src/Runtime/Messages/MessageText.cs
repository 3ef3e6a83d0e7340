namespace KernelGen.Messages;

/// <summary>Makes values from files fit for messages.</summary>
internal static class MessageText
{
    /// <summary>A value from a hostile file can be megabytes long and hold control characters; a message shows a line of it at most.</summary>
    public static string Shorten(string value)
    {
        const int Longest = 120;
        ReadOnlySpan<char> shown = value.AsSpan(0, Math.Min(value.Length, Longest));
        string clean = string.Create(shown.Length, shown, static (target, source) =>
        {
            for (int i = 0; i < source.Length; i++)
            {
                target[i] = char.IsControl(source[i]) ? '\uFFFD' : source[i];
            }
        });
        return value.Length > Longest ? $"{clean}... ({value.Length} characters)" : clean;
    }
}
