using KernelGen.Backends.Cuda;
using Xunit;

namespace KernelGen.Runtime.Tests;

/// <summary>How int8 weights are divided where they are widened for a product of many rows.</summary>
public class WidenedWeightsTests
{
    private const long Most = 256L << 20;

    [Theory]
    [InlineData(16384, 4096, 16384)]
    [InlineData(5120, 20480, 5120)]
    [InlineData(9216, 36864, 3072)]
    [InlineData(57344, 8192, 14336)]
    [InlineData(100, 100, 100)]
    [InlineData(1000, 1 << 20, 256)]
    public void A_matrix_is_widened_whole_or_in_parts_alike(int outputFeatures, int inputFeatures, int part)
    {
        long room = CudaDecoderKernels.WidenedBytes(outputFeatures, inputFeatures), rowBytes = (inputFeatures + 127L) / 128 * 128 * 2;
        Assert.Equal(part, CudaDecoderKernels.WidenedPart(outputFeatures, inputFeatures, room));
        Assert.InRange(part * rowBytes, 1, room);
        Assert.True(room <= Most || room == 256 * rowBytes, $"{room} bytes");
    }

    [Theory]
    [InlineData(1000, 768, 512)]
    [InlineData(1000, 1000, 1000)]
    [InlineData(1000, 999, 512)]
    [InlineData(257, 256, 256)]
    [InlineData(6904, 3276, 2304)]
    [InlineData(1000, 255, 0)]
    public void Parts_begin_at_whole_tiles_and_fit(int outputFeatures, int fitting, int part)
    {
        const int K = 72, RowBytes = 256;
        Assert.Equal(part, CudaDecoderKernels.WidenedPart(outputFeatures, K, (long)fitting * RowBytes));
        Assert.True(part <= fitting && (part == outputFeatures || part % 256 == 0));
    }
}
