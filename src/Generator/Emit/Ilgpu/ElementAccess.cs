namespace KernelGen.Generator.Emit.Ilgpu;

/// <summary>Values of any element format in device memory, without a half-precision type: few OpenCL devices have one.</summary>
internal static class ElementAccess
{
    public const string Text = """
        // Element number index of a matrix that lies in whole words.
        private static float Element(ArrayView<int> words, long index, int format)
        {
            if (format == 2)
            {
                return BitConverter.Int32BitsToSingle(words[index]);
            }

            int bits = (words[index >> 1] >> ((int)(index & 1) << 4)) & 0xFFFF;
            return format == 1 ? BitConverter.Int32BitsToSingle(bits << 16) : FromHalf(bits);
        }

        private static float FromHalf(int bits)
        {
            if (CudaAsm.IsSupported)
            {
                CudaAsm.Emit("{ .reg .b16 half; cvt.u16.u32 half, %1; cvt.f32.f16 %0, half; }", out float value, bits);
                return value;
            }

            int exponent = (bits >> 10) & 31, fraction = bits & 0x3FF, sign = (bits & 0x8000) << 16;
            if (exponent == 0)
            {
                return BitConverter.Int32BitsToSingle(BitConverter.SingleToInt32Bits(fraction * 5.9604645E-08f) | sign);
            }

            return BitConverter.Int32BitsToSingle((fraction << 13) | ((exponent == 31 ? 255 : exponent + 112) << 23) | sign);
        }

        // To the nearest, ties to even.
        private static int ToHalf(float value)
        {
            if (CudaAsm.IsSupported)
            {
                CudaAsm.Emit("{ .reg .b16 half; cvt.rn.f16.f32 half, %1; cvt.u32.u16 %0, half; }", out int half, value);
                return half;
            }

            int bits = BitConverter.SingleToInt32Bits(value), magnitude = bits & 0x7FFFFFFF, sign = (bits >> 16) & 0x8000;
            if (magnitude > 0x7F800000)
            {
                return sign | 0x7E00;
            }

            if (magnitude >= 0x477FF000)
            {
                return sign | 0x7C00;
            }

            if (magnitude >= 0x38800000)
            {
                int rebased = magnitude - 0x38000000;
                return sign | ((rebased + 0xFFF + ((rebased >> 13) & 1)) >> 13);
            }

            int shift = 126 - (magnitude >> 23);
            return shift > 25 ? sign : sign | (int)RoundedShift(Significand(magnitude), shift);
        }

        private static int ToBFloat16(float value)
        {
            int bits = BitConverter.SingleToInt32Bits(value);
            int top = (bits >> 16) & 0xFFFF;
            return (bits & 0x7FFFFFFF) > 0x7F800000 ? top | 0x40 : ((bits + 0x7FFF + (top & 1)) >> 16) & 0xFFFF;
        }

        private static void Store(ArrayView<byte> output, long index, float value, int format)
        {
            if (format == 2)
            {
                ArrayView<float> output32 = output.Cast<float>();
                output32[index] = value;
            }
            else
            {
                ArrayView<short> output16 = output.Cast<short>();
                output16[index] = unchecked((short)(format == 1 ? ToBFloat16(value) : ToHalf(value)));
            }
        }
        """;
}
