namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>
/// int8 values to f16 without a conversion instruction, of which a multiprocessor has few: a value plus 128 is the low byte of an f16 whose high byte says 1024.
/// Registers <c>unsigned</c>, <c>exponent</c> and <c>excess</c>.
/// </summary>
internal static class Int8ToHalf
{
    public static void Prepare(PtxWriter ptx) => ptx.Add("""
        mov.b32 exponent, 0x64646464;
        mov.b32 excess, 0x64806480;
        """);

    /// <summary>Four values to two pairs.</summary>
    public static void Widen(PtxWriter ptx, string values, string low, string high) => ptx.Add($"""
        xor.b32 unsigned, {values}, 0x80808080;
        prmt.b32 {low}, unsigned, exponent, 0x4140;
        prmt.b32 {high}, unsigned, exponent, 0x4342;
        sub.f16x2 {low}, {low}, excess;
        sub.f16x2 {high}, {high}, excess;
        """);
}
