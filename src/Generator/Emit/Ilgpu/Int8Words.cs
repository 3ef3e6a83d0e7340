namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>Four int8 values in a word, the first one lowest.</summary>
internal static class Int8Words
{
    /// <summary>An expression of value <paramref name="index"/>, sign-extended.</summary>
    public static string Byte(string word, int index) => index == 3 ? $"{word} >> 24" : $"({word} << {24 - (8 * index)}) >> 24";
}
