namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>
/// The float32 operations of the numeric contract for a library that has none of them on every accelerator: ILGPU has no fused multiply-add,
/// rounds to integers wrongly on CUDA, and lets the PTX and OpenCL compilers merge a product with a sum and divide imprecisely. On CUDA each is
/// one instruction by inline PTX that no compiler merges; elsewhere they are computed with integers, which have one result only.
/// </summary>
internal static class ExactMath
{
    public const string Text = """
        private static float Multiply(float a, float b)
        {
            if (CudaAsm.IsSupported)
            {
                CudaAsm.Emit("mul.rn.f32 %0, %1, %2;", out float product, a, b);
                return product;
            }

            return a * b;
        }

        private static float Add(float a, float b)
        {
            if (CudaAsm.IsSupported)
            {
                CudaAsm.Emit("add.rn.f32 %0, %1, %2;", out float sum, a, b);
                return sum;
            }

            return a + b;
        }

        // a * b + c, rounded once.
        private static float FusedMultiplyAdd(float a, float b, float c)
        {
            if (CudaAsm.IsSupported)
            {
                CudaAsm.Emit("fma.rn.f32 %0, %1, %2, %3;", out float result, a, b, c);
                return result;
            }

            int x = BitConverter.SingleToInt32Bits(a), y = BitConverter.SingleToInt32Bits(b), z = BitConverter.SingleToInt32Bits(c);
            long product = Significand(x) * Significand(y), addend = Significand(z);
            if (IsSpecial(x) || IsSpecial(y) || IsSpecial(z) || product == 0)
            {
                return (a * b) + c;
            }

            // Both with their highest bit at 61: what the smaller one loses when it is shifted is far below the rounding.
            int shift = LeadingZeros(product) - 2;
            product <<= shift;
            int exponent = Exponent(x) + Exponent(y) - shift;
            bool negative = (x ^ y) < 0;
            if (addend != 0)
            {
                shift = LeadingZeros(addend) - 2;
                addend <<= shift;
                int addendExponent = Exponent(z) - shift;
                if (addendExponent > exponent)
                {
                    product = ShiftRightSticky(product, addendExponent - exponent);
                    exponent = addendExponent;
                }
                else
                {
                    addend = ShiftRightSticky(addend, exponent - addendExponent);
                }

                product = ((z < 0) == negative) ? product + addend : product - addend;
                if (product < 0)
                {
                    product = -product;
                    negative = !negative;
                }
            }

            return product == 0 ? 0f : Pack(negative, product, exponent);
        }

        // a / b, rounded once.
        private static float Divide(float a, float b)
        {
            if (CudaAsm.IsSupported)
            {
                CudaAsm.Emit("div.rn.f32 %0, %1, %2;", out float result, a, b);
                return result;
            }

            int x = BitConverter.SingleToInt32Bits(a), y = BitConverter.SingleToInt32Bits(b);
            long dividend = Significand(x), divisor = Significand(y);
            if (IsSpecial(x) || IsSpecial(y) || dividend == 0 || divisor == 0)
            {
                return a / b;
            }

            // 62 bits by at most 24: a quotient of 38 bits and more.
            int shift = LeadingZeros(dividend) - 2;
            dividend <<= shift;
            long quotient = dividend / divisor;
            long sticky = quotient * divisor == dividend ? 0L : 1L;
            return Pack((x ^ y) < 0, (quotient << 1) | sticky, Exponent(x) - shift - Exponent(y) - 1);
        }

        // To the nearest integer, ties to even; for magnitudes below 2^24.
        private static int Round(float x)
        {
            if (CudaAsm.IsSupported)
            {
                CudaAsm.Emit("cvt.rni.s32.f32 %0, %1;", out int rounded, x);
                return rounded;
            }

            int bits = BitConverter.SingleToInt32Bits(x), shift = 150 - ((bits >> 23) & 0xFF);
            int significand = (int)Significand(bits);
            if (shift > 25)
            {
                return 0;
            }

            int result = shift <= 0 ? significand : (int)RoundedShift(significand, shift);
            return bits < 0 ? -result : result;
        }

        private static bool IsSpecial(int bits) => (bits & 0x7F800000) == 0x7F800000;

        private static long Significand(int bits) => (bits & 0x7FFFFF) | ((bits & 0x7F800000) == 0 ? 0 : 0x800000);

        private static int Exponent(int bits) => Math.Max((bits >> 23) & 0xFF, 1) - 150;

        private static int LeadingZeros(long value) => BitOperations.LeadingZeroCount(unchecked((ulong)value));

        private static long ShiftRightSticky(long value, int count) =>
            count == 0 ? value : count > 62 ? 1L : (value >> count) | ((value & ((1L << count) - 1)) != 0 ? 1L : 0L);

        // value / 2^count to the nearest integer, ties to even; count from 1 to 62.
        private static long RoundedShift(long value, int count)
        {
            long result = value >> count, rest = value & ((1L << count) - 1), half = 1L << (count - 1);
            return rest > half || (rest == half && (result & 1) != 0) ? result + 1 : result;
        }

        // significand * 2^exponent in float32; the significand is positive.
        private static float Pack(bool negative, long significand, int exponent)
        {
            int top = 63 - LeadingZeros(significand);
            int lowest = Math.Max(top + exponent - 23, -149);
            int shift = lowest - exponent;
            long rounded = shift > 62 ? 0 : shift > 0 ? RoundedShift(significand, shift) : significand << -shift;

            // The implicit bit counts as one in the exponent, and a carry out of the fraction is a carry into it.
            long bits = rounded + ((long)(lowest + 149) << 23);
            int magnitude = bits >= 0x7F800000 ? 0x7F800000 : (int)bits;
            return BitConverter.Int32BitsToSingle(negative ? magnitude | int.MinValue : magnitude);
        }
        """;
}
