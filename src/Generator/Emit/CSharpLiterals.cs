using System.Globalization;

namespace KernelGen.Generator.Emit;

/// <summary>Values as C# source, the same under every culture.</summary>
internal static class CSharpLiterals
{
    public static string Of(float value) => value.ToString("R", CultureInfo.InvariantCulture) + "f";

    public static string Of(int value) => value.ToString(CultureInfo.InvariantCulture);

    public static string Of<T>(T value)
        where T : struct, Enum => $"global::KernelGen.{typeof(T).Name}.{value}";

    /// <summary>A string of names and reasons: no quote, backslash or line break ever stands in one.</summary>
    public static string Of(string value) => "\"" + value + "\"";
}
