using System.Globalization;

namespace KernelGen.Generator.Emit.Cpu;

/// <summary>
/// How the row kernels say an operation: on plain numbers, or on the vectors of one width. The vector API is the same for 128, 256 and 512
/// bits, on x64 and Arm alike.
/// </summary>
internal sealed class RowDialect
{
    /// <summary>The bits of positive infinity: the magnitudes of numbers are below, those of infinities and NaNs are not.</summary>
    public const string Infinity = "0x7F800000";

    private const string Unsafe = "global::System.Runtime.CompilerServices.Unsafe";

    private const string Support = "global::KernelGen.Kernels.CpuVectors";

    private RowDialect(int bits) => Bits = bits;

    public static RowDialect Scalar { get; } = new(32);

    public int Bits { get; }

    public int Lanes => Bits / 32;

    public string ClassName => IsScalar ? "ScalarRows" : $"Vector{Text(Bits)}Rows";

    public string IntType => IsScalar ? "int" : $"{V}<int>";

    public string FloatType => IsScalar ? "float" : $"{V}<float>";

    public string ZeroInt => IsScalar ? "0" : $"{V}<int>.Zero";

    public string ZeroFloat => IsScalar ? "0f" : $"{V}<float>.Zero";

    private bool IsScalar => Bits == 32;

    private string V => $"global::System.Runtime.Intrinsics.Vector{Text(Bits)}";

    public static RowDialect OfWidth(int bits) => bits == 32 ? Scalar : new RowDialect(bits);

    /// <summary>
    /// A loop over a row in steps of whole vectors, and the body once more for what is left. The body gets the way to load the row's values
    /// at an index; in the last step zeros stand for what lies beyond k.
    /// </summary>
    public void ForEachStep(CodeWriter writer, int vectors, Action<Func<string, string>> body, bool again = false)
    {
        string step = Text(vectors * Lanes);
        writer.Line(again ? "i = 0;" : "nint i = 0;");
        using (writer.Block($"for (; i <= k - {step}; i += {step})"))
        {
            body(index => Load("row", index));
        }

        if (vectors * Lanes == 1)
        {
            return;
        }

        writer.Line();
        using (writer.Block("if (i < k)"))
        {
            body(index => $"{Support}.Load{Text(Bits)}(ref row, {index}, k)");
        }
    }

    public string LoadFloat(string source, string index) => Load(source, index);

    public string LoadInt(string source, string index) => Load(source, index);

    public string StoreFloat(string target, string index, string value) => Store(target, index, value);

    public string StoreInt(string target, string index, string value) => Store(target, index, value);

    public string CreateInt(string value) => IsScalar ? value : $"{V}.Create({value})";

    public string CreateFloat(string value) => IsScalar ? value : $"{V}.Create({value})";

    public string Magnitude(string x) => IsScalar
        ? $"(global::System.BitConverter.SingleToInt32Bits({x}) & 0x7FFFFFFF)"
        : $"({V}.AsInt32({x}) & {V}.Create(0x7FFFFFFF))";

    public static string And(string a, string b) => $"({a} & {b})";

    public string AndFloat(string x, string mask) => IsScalar
        ? $"global::System.BitConverter.Int32BitsToSingle(global::System.BitConverter.SingleToInt32Bits({x}) & {mask})"
        : $"{V}.AsSingle({V}.AsInt32({x}) & {mask})";

    public string LessThan(string a, string b) => IsScalar ? $"({a} < {b} ? -1 : 0)" : $"{V}.LessThan({a}, {b})";

    public string AtLeast(string a, string b) => IsScalar ? $"({a} >= {b})" : $"{V}.GreaterThanOrEqual({a}, {b})";

    /// <summary>A comparison as one bit per lane.</summary>
    public string MaskBits(string comparison) => IsScalar ? $"({comparison} ? 1UL : 0UL)" : $"{V}.ExtractMostSignificantBits({comparison})";

    /// <summary>The signs of integers as one bit per lane.</summary>
    public string SignBits(string x) => IsScalar ? $"({x} < 0 ? 1UL : 0UL)" : $"{V}.ExtractMostSignificantBits({x})";

    public string MinInt(string a, string b) => Function("Min", a, b);

    public string MaxInt(string a, string b) => Function("Max", a, b);

    /// <summary>NaN does not matter here: a row that has one is not quantized.</summary>
    public string MinFloat(string a, string b) => IsScalar ? $"({b} < {a} ? {b} : {a})" : $"{V}.MinNative({a}, {b})";

    /// <inheritdoc cref="MinFloat"/>
    public string MaxFloat(string a, string b) => IsScalar ? $"({b} > {a} ? {b} : {a})" : $"{V}.MaxNative({a}, {b})";

    public string ReduceMax(string x) => IsScalar ? x : $"{Support}.Max({x})";

    public string ReduceMinFloat(string x) => IsScalar ? x : $"{Support}.Min({x})";

    public string ReduceMaxFloat(string x) => IsScalar ? x : $"{Support}.Max({x})";

    public static string Multiply(string a, string b) => $"({a} * {b})";

    public string FusedMultiplyAdd(string a, string b, string c) => IsScalar
        ? $"global::System.MathF.FusedMultiplyAdd({a}, {b}, {c})"
        : $"{V}.FusedMultiplyAdd({a}, {b}, {c})";

    public string ToFloat(string x) => IsScalar ? $"(float){x}" : $"{V}.ConvertToSingle({x})";

    /// <summary>To the nearest integer, ties to even.</summary>
    public string RoundToInt(string x) => IsScalar
        ? $"(int)global::System.MathF.Round({x}, global::System.MidpointRounding.ToEven)"
        : $"{V}.ConvertToInt32Native({V}.Round({x}))";

    /// <summary>Vectors of quantized values that make one store.</summary>
    public int GroupParts(ActivationFormat format) => IsScalar ? 1 : format == ActivationFormat.Int16 ? 2 : 4;

    public string StoreQuantized(ActivationFormat format)
    {
        if (IsScalar)
        {
            return format == ActivationFormat.Int16
                ? $"{Unsafe}.WriteUnaligned(ref {Unsafe}.AddByteOffset(ref destination, i * 2), (short)q0);"
                : $"{Unsafe}.AddByteOffset(ref destination, i) = unchecked((byte)q0);";
        }

        return format == ActivationFormat.Int16
            ? $"{V}.StoreUnsafe({V}.AsByte({V}.Narrow(q0, q1)), ref {Unsafe}.AddByteOffset(ref destination, i * 2));"
            : $"{V}.StoreUnsafe({V}.AsByte({V}.Narrow({V}.Narrow(q0, q1), {V}.Narrow(q2, q3))), ref {Unsafe}.AddByteOffset(ref destination, i));";
    }

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    private string Load(string source, string index) => IsScalar
        ? $"{Unsafe}.Add(ref {source}, {index})"
        : $"{V}.LoadUnsafe(ref {source}, (nuint)({index}))";

    private string Store(string target, string index, string value) => IsScalar
        ? $"{Unsafe}.Add(ref {target}, {index}) = {value};"
        : $"{V}.StoreUnsafe({value}, ref {target}, (nuint)({index}));";

    private string Function(string name, string a, string b) => IsScalar ? $"global::System.Math.{name}({a}, {b})" : $"{V}.{name}({a}, {b})";
}
