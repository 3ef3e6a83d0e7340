using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>
/// What follows the integer sums, in the same order of float32 operations in every kernel, so that a row's bits never depend on the
/// kernel that computed it: <c>v = float(acc) * (rowStep * columnStep)</c>, then the outliers, <c>+ bias</c>, activation. Outliers with int8 weights are summed from
/// zero, <c>s = fma(a, w, s)</c>, and <c>v = fma(s, columnStep, v)</c>; with 16-bit weights <c>v = fma(a, w, v)</c>. Accumulators keep their registers: an s32
/// becomes the f32 of the same element.
/// </summary>
internal static class Epilogue
{
    /// <summary>Registers that the parts below use.</summary>
    public static void Declare(PtxWriter ptx) => ptx
        .Registers("f32", "step", "columnStep0", "columnStep1", "bias0", "bias1", "x", "ax", "t", "y", "e", "weight0", "weight1")
        .Registers("b32", "weightSum0", "weightSum1", "corrected", "activation")
        .Registers("pred", "isNegative", "isCurve", "isErf", "isTanh", "hasBias", "sumsApart");

    /// <summary>acc becomes float(acc - zero * weightSum) * (rowStep * columnStep).</summary>
    public static void Scale(
        PtxWriter ptx, GemmNumbers numbers, string accumulator, string rowStep, string rowZero, string columnStep, string weightSum)
    {
        if (numbers.ZeroPoint)
        {
            ptx.Add($"mul.lo.s32 corrected, {rowZero}, {weightSum};")
               .Add($"sub.s32 {accumulator}, {accumulator}, corrected;");
        }

        ptx.Add($"""
            mul.rn.f32 step, {rowStep}, {columnStep};
            cvt.rn.f32.s32 {accumulator}, {accumulator};
            mul.rn.f32 {accumulator}, {accumulator}, step;
            """);
    }

    /// <summary>sumsApart: whether outliers have int8 weights.</summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="pointer">A b64 register to use.</param>
    public static void ReadSumsApart(PtxWriter ptx, string pointer) =>
        ptx.Argument(pointer, nameof(GemmArguments.Originals), "u64").Add($"setp.eq.u64 sumsApart, {pointer}, 0;");

    /// <summary>Where the sum of a result's outliers begins.</summary>
    public static void StartSum(PtxWriter ptx, string sum, string result) => ptx.Add($"selp.b32 {sum}, 0, {result}, sumsApart;");

    /// <summary>The result with the sum of its outliers.</summary>
    public static void AddSum(PtxWriter ptx, string sum, string columnStep, string result) => ptx.Add($"""
        fma.rn.f32 {result}, {sum}, {columnStep}, {result};
        selp.b32 {result}, {result}, {sum}, sumsApart;
        """);

    /// <summary>max(x, 0) that keeps NaN.</summary>
    public static void Relu(PtxWriter ptx, string x) => ptx.Add($"""
        setp.lt.f32 isNegative, {x}, 0f00000000;
        selp.f32 {x}, 0f00000000, {x}, isNegative;
        """);

    /// <summary>
    /// The activation function, chosen at run time by the register <c>activation</c>. For the three curves: a few units in the last place
    /// of float32, also where the result is small against x.
    /// </summary>
    public static void Activate(PtxWriter ptx, string x)
    {
        string erf = ptx.Label("GELU_ERF"), sigmoid = ptx.Label("SIGMOID"), done = ptx.Label("ACTIVATED"), curve = ptx.Label("CURVE");
        ptx.Add($"""
            setp.ge.u32 isCurve, activation, {(int)Activation.Gelu};
            @isCurve bra {curve};
            setp.ne.u32 isCurve, activation, {(int)Activation.Relu};
            @isCurve bra {done};
            """);
        Relu(ptx, x);
        ptx.Add($"""
            bra {done};
            {curve}:
            setp.eq.u32 isErf, activation, {(int)Activation.Gelu};
            @isErf bra {erf};
            setp.eq.u32 isTanh, activation, {(int)Activation.GeluTanh};
            mov.f32 y, {x};
            @!isTanh bra {sigmoid};
            """);
        // 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): no cancellation for negative x.
        ptx.Add($"""
            mul.rn.f32 t, {x}, {x};
            fma.rn.f32 t, t, {PtxWriter.F32(0.0713548162726f)}, {PtxWriter.F32(1.59576912160573f)};
            mul.rn.f32 y, {x}, t;
            {sigmoid}:
            mul.rn.f32 e, y, {PtxWriter.F32(-1.4426950408889634f)};
            min.f32 e, e, {PtxWriter.F32(127f)};
            ex2.approx.f32 e, e;
            add.rn.f32 e, e, {PtxWriter.F32(1f)};
            div.rn.f32 y, {x}, e;
            """);
        string saturated = ptx.Label("SATURATED");
        // Beyond exp(88) the quotient above would stop at x / 2^127; sigmoid is 0 there.
        ptx.Add($"""
            setp.lt.f32 isNegative, e, {PtxWriter.F32(1.7e38f)};
            @isNegative bra {saturated};
            setp.num.f32 isNegative, y, y;
            @isNegative mov.f32 y, 0f80000000;
            {saturated}:
            mov.f32 {x}, y;
            bra {done};
            {erf}:
            mul.rn.f32 ax, {x}, {PtxWriter.F32(0.70710678118654752f)};
            abs.f32 ax, ax;
            fma.rn.f32 t, ax, {PtxWriter.F32(0.5f)}, {PtxWriter.F32(1f)};
            rcp.rn.f32 t, t;
            mov.f32 y, {PtxWriter.F32(0.17087277f)};
            """);
        // erfc(z) = t exp(-z^2 + polynomial(t)), t = 1 / (1 + z/2): relative error below 1.2e-7 for every z >= 0.
        foreach (float coefficient in new[] { -0.82215223f, 1.48851587f, -1.13520398f, 0.27886807f, -0.18628806f, 0.09678418f, 0.37409196f, 1.00002368f, -1.26551223f })
        {
            ptx.Add($"fma.rn.f32 y, y, t, {PtxWriter.F32(coefficient)};");
        }

        ptx.Add($"""
            neg.f32 e, ax;
            fma.rn.f32 y, e, ax, y;
            mul.rn.f32 y, y, {PtxWriter.F32(1.4426950408889634f)};
            ex2.approx.f32 y, y;
            mul.rn.f32 y, y, t;
            mul.rn.f32 y, y, {PtxWriter.F32(0.5f)};
            setp.lt.f32 isNegative, {x}, 0f00000000;
            @!isNegative sub.rn.f32 y, {PtxWriter.F32(1f)}, y;
            mul.rn.f32 {x}, {x}, y;
            {done}:
            """);
    }

    /// <summary>
    /// Applies the activation function to many accumulators with little code: they pass through shared memory that only this thread uses,
    /// in a loop over its four-value slots, 16 bytes apart from the neighbour thread's.
    /// </summary>
    /// <param name="ptx">The kernel.</param>
    /// <param name="accumulators">Registers; a multiple of four.</param>
    /// <param name="slot">This thread's first slot, a shared-memory address register.</param>
    /// <param name="slotStride">Bytes between a thread's slots: 16 times the threads that share the scratch.</param>
    /// <param name="slots">Slots that fit.</param>
    public static void ActivateAll(PtxWriter ptx, string[] accumulators, string slot, int slotStride, int slots)
    {
        string done = ptx.Label("ALL_ACTIVATED"), curve = ptx.Label("CURVES");
        ptx.Add($"""
            setp.eq.u32 isCurve, activation, {(int)Activation.None};
            @isCurve bra {done};
            setp.ge.u32 isCurve, activation, {(int)Activation.Gelu};
            @isCurve bra {curve};
            """);
        foreach (string accumulator in accumulators)
        {
            Relu(ptx, accumulator);
        }

        ptx.Add($"bra {done};").Add($"{curve}:");
        int perPass = slots * 4;
        for (int first = 0; first < accumulators.Length; first += perPass)
        {
            string[] pass = accumulators.Skip(first).Take(perPass).ToArray();
            string loop = ptx.Label("ACTIVATE");
            for (int i = 0; i < pass.Length; i += 4)
            {
                ptx.Add($"st.shared.v4.b32 [{slot}+{i / 4 * slotStride}], {{{pass[i]}, {pass[i + 1]}, {pass[i + 2]}, {pass[i + 3]}}};");
            }

            ptx.Add($"""
                mov.u32 slotCursor, {slot};
                mov.u32 slotsLeft, {pass.Length};
                mov.u32 slotByte, 0;
                {loop}:
                ld.shared.f32 x, [slotCursor];
                """);
            Activate(ptx, "x");
            ptx.Add($"""
                st.shared.f32 [slotCursor], x;
                add.u32 slotByte, slotByte, 4;
                add.u32 slotCursor, slotCursor, 4;
                and.b32 slotWrap, slotByte, 15;
                setp.eq.u32 isCurve, slotWrap, 0;
                @isCurve add.u32 slotCursor, slotCursor, {slotStride - 16};
                sub.u32 slotsLeft, slotsLeft, 1;
                setp.ne.u32 isCurve, slotsLeft, 0;
                @isCurve bra {loop};
                """);
            for (int i = 0; i < pass.Length; i += 4)
            {
                ptx.Add($"ld.shared.v4.b32 {{{pass[i]}, {pass[i + 1]}, {pass[i + 2]}, {pass[i + 3]}}}, [{slot}+{i / 4 * slotStride}];");
            }
        }

        ptx.Add($"{done}:");
    }

    /// <summary>Registers of <see cref="ActivateAll"/>.</summary>
    public static void DeclareSlots(PtxWriter ptx) => ptx.Registers("b32", "slotCursor", "slotsLeft", "slotByte", "slotWrap");
}
