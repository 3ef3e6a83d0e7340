using System.Globalization;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>Registers in numbers: their names, as operands, and pairs of f16 to and from f32.</summary>
internal static class PtxRegisters
{
    /// <summary>Names name0, name1, ...</summary>
    public static string[] Names(string name, int count) =>
        Enumerable.Range(0, count).Select(i => name + i.ToString(CultureInfo.InvariantCulture)).ToArray();

    /// <summary>The f16 pairs in b32 registers to twice as many f32 registers.</summary>
    public static PtxWriter Widen(this PtxWriter ptx, string[] words, string[] floats)
    {
        for (int i = 0; i < words.Length; i++)
        {
            ptx.Add($$"""
                mov.b32 {halfLow, halfHigh}, {{words[i]}};
                cvt.f32.f16 {{floats[2 * i]}}, halfLow;
                cvt.f32.f16 {{floats[(2 * i) + 1]}}, halfHigh;
                """);
        }

        return ptx;
    }

    /// <summary>f32 registers to half as many pairs of f16, the first in the low half; rounded to nearest even, beyond the range to infinity.</summary>
    public static PtxWriter Narrow(this PtxWriter ptx, string[] floats, string[] words)
    {
        for (int i = 0; i < words.Length; i++)
        {
            ptx.Add($"cvt.rn.f16x2.f32 {words[i]}, {floats[(2 * i) + 1]}, {floats[2 * i]};");
        }

        return ptx;
    }

    /// <summary>A list as a vector operand.</summary>
    public static string Vector(params string[] registers) => "{" + string.Join(", ", registers) + "}";
}
