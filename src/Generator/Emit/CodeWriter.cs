using System.Text;

namespace KernelGen.Generator.Emit;

/// <summary>Writes indented lines that end in a line feed on every system.</summary>
internal sealed class CodeWriter
{
    private readonly StringBuilder _text = new();

    private int _depth;

    /// <summary>Writes a line, or the lines of a raw string, at the current depth.</summary>
    public void Line(string lines = "")
    {
        foreach (string line in lines.Split('\n'))
        {
            if (line.Length > 0)
            {
                _text.Append(' ', _depth * 4).Append(line);
            }

            _text.Append('\n');
        }
    }

    /// <summary>Writes text as it is, at the margin.</summary>
    public void Verbatim(string lines) => _text.Append(lines);

    /// <summary>Writes a header and braces around what is written until the result is disposed.</summary>
    public Scope Block(string header)
    {
        Line(header);
        Line("{");
        _depth++;
        return new Scope(this);
    }

    public override string ToString() => _text.ToString();

    internal readonly struct Scope(CodeWriter writer) : IDisposable
    {
        public void Dispose()
        {
            writer._depth--;
            writer.Line("}");
        }
    }
}
