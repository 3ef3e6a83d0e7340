using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// Writes PTX. Instructions are given as raw strings and read like PTX; the writer indents them, keeps labels at the margin, and turns
/// <c>arg.Name</c> loads into offsets of <see cref="GemmArguments"/>. Labels and registers are named for what they mark and hold.
/// </summary>
internal sealed class PtxWriter
{
    private readonly StringBuilder text = new();

    private int labels;

    /// <summary>Writes the lines of a raw string.</summary>
    public PtxWriter Add(string lines)
    {
        foreach (string line in lines.Split('\n'))
        {
            string trimmed = line.Trim();
            if (trimmed.Length == 0)
            {
                continue;
            }

            bool margin = trimmed[0] is '.' or '{' or '}' ? !trimmed.StartsWith(".reg", StringComparison.Ordinal) : trimmed.EndsWith(":", StringComparison.Ordinal);
            text.Append(margin ? "" : "    ").Append(trimmed).Append('\n');
        }

        return this;
    }

    /// <summary>A label that no other part of the kernel has.</summary>
    public string Label(string name) => $"{name}_{labels++}";

    /// <summary>Loads a field of <see cref="GemmArguments"/>.</summary>
    public PtxWriter Argument(string register, string field, string type) => Argument<GemmArguments>(register, field, type);

    /// <summary>Loads a field of a parameter block.</summary>
    public PtxWriter Argument<T>(string register, string field, string type, string block = "args")
    {
        int offset = (int)Marshal.OffsetOf<T>(field);
        return Add($"ld.param.{type} {register}, [{block}+{offset.ToString(CultureInfo.InvariantCulture)}];");
    }

    /// <summary>Declares registers.</summary>
    public PtxWriter Registers(string type, params string[] names) => Add($".reg .{type} {string.Join(", ", names)};");

    public override string ToString() => text.ToString();

    /// <summary>An f32 immediate, exact.</summary>
    public static string F32(float value)
    {
        byte[] bytes = BitConverter.GetBytes(value);
        return "0f" + BitConverter.ToUInt32(bytes, 0).ToString("X8", CultureInfo.InvariantCulture);
    }
}
