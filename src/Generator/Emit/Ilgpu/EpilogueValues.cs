namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>How the epilogue's float32 values are held and computed, one operation after the other in the order of the numeric contract.</summary>
internal abstract class EpilogueValues
{
    /// <summary>Value i becomes float(sum i - correction) * step.</summary>
    /// <param name="i">Which value.</param>
    /// <param name="correction">What a zero-point added to the sum, an int; or null.</param>
    /// <param name="step">The product of the row's and the column's step.</param>
    public abstract string Scale(int i, string? correction, string step);

    /// <summary>Value i's sum of outliers begins at zero where <c>sumsApart</c>, else at the value.</summary>
    public abstract string StartSum(int i);

    /// <summary>Value i's sum of outliers becomes fma(a, weight, sum).</summary>
    public abstract string FusedMultiplyAdd(int i, string a, string weight);

    /// <summary>Value i becomes fma(sum, columnStep, value) where <c>sumsApart</c>, else the sum.</summary>
    public abstract string AddSum(int i);

    /// <summary>Every sum of outliers becomes fma(a, weight, sum) for a column that is in shared memory; null where no column ever is.</summary>
    /// <param name="rows">How many values.</param>
    /// <param name="weightOffset">Where the weight is, in bytes.</param>
    /// <param name="rowOffset">Where the rows' activations are, side by side, in bytes.</param>
    public abstract string? FusedMultiplyAddStaged(int rows, string weightOffset, string rowOffset);

    /// <summary>Value i becomes value + addend.</summary>
    public abstract string Add(int i, string addend);

    /// <summary>Declares the variable value{i}, unless it is there.</summary>
    public abstract string? Read(int i);
}

/// <summary>Sums and values in variables, computed by the helpers that are exact on every accelerator.</summary>
internal sealed class VariableValues : EpilogueValues
{
    public override string Scale(int i, string? correction, string step) =>
        $"float value{i} = Multiply(sum{i}{(correction is null ? "" : $" - ({correction})")}, {step});";

    public override string StartSum(int i) => $"float outliers{i} = sumsApart ? 0f : value{i};";

    public override string FusedMultiplyAdd(int i, string a, string weight) => $"outliers{i} = FusedMultiplyAdd({a}, {weight}, outliers{i});";

    public override string AddSum(int i) => $"value{i} = sumsApart ? FusedMultiplyAdd(outliers{i}, columnStep, value{i}) : outliers{i};";

    public override string? FusedMultiplyAddStaged(int rows, string weightOffset, string rowOffset) => null;

    public override string Add(int i, string addend) => $"value{i} = Add(value{i}, {addend});";

    public override string? Read(int i) => null;
}

/// <summary>
/// Sums in shared memory that only inline PTX reaches, values in named registers that it changes in place: what inline PTX hands back to ILGPU
/// travels through local memory, so each value does so once.
/// </summary>
/// <param name="pitch">Words from one row of sums to the next.</param>
internal sealed class RegisterValues(int pitch) : EpilogueValues
{
    /// <summary>Declarations for as many values.</summary>
    public static string Declare(int count) => $".reg .f32 result<{count}>;\n.reg .f32 outliers<{count}>;\n.reg .f32 activation<{count}>, weight, begin;\n.reg .pred apart;\n.reg .b32 sum, sumAddress, stagedWeight, stagedRow;";

    /// <summary>The first value's sum is so many bytes into the shared memory.</summary>
    public static string At(string offset) => $"CudaAsm.Emit(\"add.u32 sumAddress, shared, %0;\", {offset});";

    public override string Scale(int i, string? correction, string step) =>
        $"CudaAsm.Emit(\"ld.shared.b32 sum, [sumAddress+{i * pitch * 4}]; {(correction is null ? "" : "sub.s32 sum, sum, %1; ")}"
        + $"cvt.rn.f32.s32 result{i}, sum; mul.rn.f32 result{i}, result{i}, %0;\", {step}{(correction is null ? "" : $", {correction}")});";

    public override string StartSum(int i) =>
        $"CudaAsm.Emit(\"setp.ne.s32 apart, %0, 0; mov.f32 begin, 0f00000000; selp.f32 outliers{i}, begin, result{i}, apart;\", sumsApart ? 1 : 0);";

    public override string FusedMultiplyAdd(int i, string a, string weight) => $"CudaAsm.Emit(\"fma.rn.f32 outliers{i}, %0, %1, outliers{i};\", {a}, {weight});";

    public override string AddSum(int i) =>
        $"CudaAsm.Emit(\"setp.ne.s32 apart, %1, 0; fma.rn.f32 result{i}, outliers{i}, %0, result{i}; selp.f32 result{i}, result{i}, outliers{i}, apart;\", columnStep, sumsApart ? 1 : 0);";

    public override string? FusedMultiplyAddStaged(int rows, string weightOffset, string rowOffset)
    {
        string[] lines =
            Enumerable.Range(0, rows / 4).Select(i => $"ld.shared.v4.f32 {{{string.Join(", ", Enumerable.Range(4 * i, 4).Select(row => $"activation{row}"))}}}, [stagedRow+{16 * i}];")
            .Concat(Enumerable.Range(0, rows).Select(i => $"fma.rn.f32 outliers{i}, activation{i}, weight, outliers{i};")).ToArray();
        return "CudaAsm.Emit(\"add.u32 stagedWeight, shared, %0; add.u32 stagedRow, shared, %1; ld.shared.f32 weight, [stagedWeight]; "
            + $"{string.Join(" ", lines)}\", {weightOffset}, {rowOffset});";
    }

    public override string Add(int i, string addend) => $"CudaAsm.Emit(\"add.rn.f32 result{i}, result{i}, %0;\", {addend});";

    public override string? Read(int i) => $"CudaAsm.Emit(\"mov.f32 %0, result{i};\", out float value{i});";
}
