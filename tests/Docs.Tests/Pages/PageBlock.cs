namespace KernelGen.Docs.Tests.Pages;

/// <summary>A block of code of a page.</summary>
/// <param name="Page">The page, relative to the repository.</param>
/// <param name="Line">Where it begins, from 1.</param>
/// <param name="Language">The first word after the fence.</param>
/// <param name="Mark">The second one, or nothing.</param>
/// <param name="Text">What is between the fences.</param>
/// <param name="Heading">The heading that it stands under.</param>
/// <param name="Note">The comment <c>&lt;!-- test: ... --&gt;</c> right before it, or nothing.</param>
internal sealed record PageBlock(string Page, int Line, string Language, string Mark, string Text, string Heading, string Note)
{
    /// <summary>Where it is, as editors open it.</summary>
    public string Place => $"{Page}:{Line}";

    /// <summary>What follows a word of the note, such as a path after <c>file</c>; null where the note does not begin with it.</summary>
    public string? NoteAfter(string word) =>
        Note.StartsWith(word, StringComparison.Ordinal) && (Note.Length == word.Length || char.IsWhiteSpace(Note[word.Length])) ? Note[word.Length..].Trim() : null;
}
