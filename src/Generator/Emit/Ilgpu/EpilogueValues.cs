namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>How the epilogue's float32 values are held and computed, one operation after the other in the order of the numeric contract.</summary>
internal abstract class EpilogueValues
{
    /// <summary>Value i becomes float(sum i - correction) * step.</summary>
    /// <param name="i">Which value.</param>
    /// <param name="correction">What a zero-point added to the sum, an int; or null.</param>
    /// <param name="step">The product of the row's and the column's step.</param>
    public abstract string Scale(int i, string? correction, string step);

    /// <summary>Value i becomes fma(a, weight, value).</summary>
    public abstract string FusedMultiplyAdd(int i, string a, string weight);

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

    public override string FusedMultiplyAdd(int i, string a, string weight) => $"value{i} = FusedMultiplyAdd({a}, {weight}, value{i});";

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
    public static string Declare(int count) => $".reg .f32 result<{count}>;\n.reg .b32 sum, sumAddress;";

    /// <summary>The first value's sum is so many bytes into the shared memory.</summary>
    public static string At(string offset) => $"CudaAsm.Emit(\"add.u32 sumAddress, shared, %0;\", {offset});";

    public override string Scale(int i, string? correction, string step) =>
        $"CudaAsm.Emit(\"ld.shared.b32 sum, [sumAddress+{i * pitch * 4}]; {(correction is null ? "" : "sub.s32 sum, sum, %1; ")}"
        + $"cvt.rn.f32.s32 result{i}, sum; mul.rn.f32 result{i}, result{i}, %0;\", {step}{(correction is null ? "" : $", {correction}")});";

    public override string FusedMultiplyAdd(int i, string a, string weight) => $"CudaAsm.Emit(\"fma.rn.f32 result{i}, %0, %1, result{i};\", {a}, {weight});";

    public override string Add(int i, string addend) => $"CudaAsm.Emit(\"add.rn.f32 result{i}, result{i}, %0;\", {addend});";

    public override string? Read(int i) => $"CudaAsm.Emit(\"mov.f32 %0, result{i};\", out float value{i});";
}
