using System.Runtime.InteropServices;
using KernelGen.Quantization;
using Xunit;

namespace KernelGen.Tests;

/// <summary>The fast quantizer of stored rows against the contract's formula, value by value.</summary>
public sealed class StoredWeightRowsTests
{
    public static TheoryData<float> Absmaxes => [65504f, 6.1f, 1f, 0.02f, 6.1e-5f, 5.96e-8f, 1e-20f, 1.2e-38f, 1e-44f];

    [Theory]
    [MemberData(nameof(Absmaxes))]
    public void Every_half_is_quantized_as_the_contract_says(float absmax) =>
        AgreesWithContract([.. AllBits.Select(BitConverter.UInt16BitsToHalf).Where(value => Half.IsFinite(value) && Math.Abs((float)value) <= absmax)], static value => (float)value, absmax);

    [Theory]
    [MemberData(nameof(Absmaxes))]
    public void Every_bfloat16_is_quantized_as_the_contract_says(float absmax) =>
        AgreesWithContract([.. AllBits.Select(static bits => new BFloat16(bits)).Where(value => Math.Abs((float)value) <= absmax)], static value => value, absmax);

    [Theory]
    [MemberData(nameof(Absmaxes))]
    public void Floats_are_quantized_as_the_contract_says(float absmax)
    {
        Random random = new(1);
        float[] values = new float[20_001];
        for (int i = 0; i < values.Length; i++)
        {
            // Half of them next to a tie between two levels.
            double level = random.Next(-127, 127) + 0.5;
            values[i] = i % 2 == 0 ? (float)(absmax * ((2 * random.NextDouble()) - 1)) : (float)(level * absmax / 127);
        }

        AgreesWithContract<float>([.. values.Where(value => Math.Abs(value) <= absmax)], static value => value, absmax);
    }

    [Fact]
    public void Absmax_and_values_do_not_depend_on_the_rows_length()
    {
        Random random = new(2);
        for (int length = 1; length < 300; length++)
        {
            Half[] row = [.. Enumerable.Range(0, length).Select(_ => (Half)(random.NextSingle() - 0.5f))];
            int largest = random.Next(length);
            row[largest] = (Half)(-0.75f);
            Assert.Equal(0.75f, StoredWeightRows.Absmax<Half>(row));
            sbyte[] quantized = new sbyte[length];
            StoredWeightRows.Quantize<Half>(row, 0.75f, quantized);
            Assert.Equal(-127, quantized[largest]);
            Assert.Equal([.. row.Select(value => Contract((float)value, 0.75f))], quantized);
            Assert.Equal(quantized.Sum(static value => value), WeightRows.Sum(quantized));
        }
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void A_value_that_is_not_finite_is_named(float value)
    {
        foreach (int column in (int[])[0, 17, 39])
        {
            float[] row = new float[40];
            row[column] = value;
            Half[] halves = [.. row.Select(static single => (Half)single)];
            BFloat16[] brains = [.. row.Select(static single => (BFloat16)single)];
            string expected = $"'w' has the value {value.ToString(System.Globalization.CultureInfo.InvariantCulture)} at row 5, column {column};";
            Assert.Contains(expected, Assert.Throws<ArgumentException>(() => WeightRows.Absmax<float>("w", 5, row)).Message);
            Assert.Contains(expected, Assert.Throws<ArgumentException>(() => WeightRows.Absmax<Half>("w", 5, halves)).Message);
            Assert.Contains(expected, Assert.Throws<ArgumentException>(() => WeightRows.Absmax<BFloat16>("w", 5, brains)).Message);
        }
    }

    [Fact]
    public void A_row_of_zeros_gives_zeros()
    {
        sbyte[] quantized = [.. Enumerable.Repeat((sbyte)1, 70)];
        StoredWeightRows.Quantize<Half>(new Half[70], StoredWeightRows.Absmax<Half>(new Half[70]), quantized);
        Assert.All(quantized, static value => Assert.Equal(0, value));
    }

    private static IEnumerable<ushort> AllBits => Enumerable.Range(0, 65536).Select(static bits => (ushort)bits);

    private static void AgreesWithContract<T>(T[] values, Func<T, float> toSingle, float absmax)
        where T : unmanaged
    {
        sbyte[] quantized = new sbyte[values.Length];
        StoredWeightRows.Quantize<T>(values, absmax, quantized);
        Assert.Equal([.. values.Select(value => Contract(toSingle(value), absmax))], quantized);
        float largest = values.Length == 0 ? 0 : values.Max(value => Math.Abs(toSingle(value)));
        Assert.Equal(largest, StoredWeightRows.Absmax<T>(values));
        Assert.True(MemoryMarshal.AsBytes(quantized.AsSpan()).IndexOf((byte)0x80) < 0);
    }

    /// <summary>q = roundHalfEven(x * (127 / absmax)), both products rounded to float32; tiny rows are lifted by a power of two first.</summary>
    private static sbyte Contract(float value, float absmax)
    {
        (float prescale, float scale) = AbsmaxScaling.Symmetric(absmax);
        return (sbyte)MathF.Round((float)((float)(value * prescale) * scale), MidpointRounding.ToEven);
    }
}
