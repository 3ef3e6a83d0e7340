namespace KernelGen.Backends.Cuda;

/// <summary>A single row that a multiplication normalizes itself: <c>norm(residual + first + second) * weight + bias</c>, rounded to float16. Addresses, multiples of 16; 0 where there is none. The kernel ahead may
/// write all but <paramref name="Weight"/> and <paramref name="Bias"/>, which are read before it has ended.</summary>
/// <param name="Norm">The norm, not <see cref="CudaNorm.None"/>.</param>
/// <param name="Residual">f32 [K].</param>
/// <param name="Sum">f32 [K]: receives the residual stream with what was added; not <paramref name="Residual"/>.</param>
/// <param name="First">f16 [K].</param>
/// <param name="Second">f16 [K].</param>
/// <param name="Weight">f32 [K].</param>
/// <param name="Bias">f32 [K].</param>
/// <param name="Epsilon">Added to the variance or the mean square.</param>
internal readonly record struct CudaNormInput(CudaNorm Norm, ulong Residual, ulong Sum, ulong First, ulong Second, ulong Weight, ulong Bias, float Epsilon);
