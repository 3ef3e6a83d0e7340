using System.Runtime.CompilerServices;

namespace KernelGen.Backends.Cpu;

/// <summary>The type in which packed weights lie in memory.</summary>
internal enum FloatWeightFormat
{
    Float32,
    Float16,
    BFloat16,

    /// <summary>int8 with one scale per output feature, applied to the finished sums.</summary>
    Int8,
}

/// <summary>How a stored weight becomes float32; a struct per format, so that the kernels are compiled for each.</summary>
internal unsafe interface IWeightFormat<TStored>
    where TStored : unmanaged
{
    static abstract TVector Load<TLanes, TVector>(TStored* source)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct;
}

internal readonly unsafe struct Float32Format : IWeightFormat<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TLanes, TVector>(float* source)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct => TLanes.Load(source);
}

internal readonly unsafe struct Float16Format : IWeightFormat<ushort>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TLanes, TVector>(ushort* source)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct => TLanes.LoadFiniteHalf(source);
}

internal readonly unsafe struct BFloat16Format : IWeightFormat<ushort>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TLanes, TVector>(ushort* source)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct => TLanes.LoadBFloat16(source);
}

internal readonly unsafe struct Int8Format : IWeightFormat<sbyte>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Load<TLanes, TVector>(sbyte* source)
        where TLanes : IFloatLanes<TVector>
        where TVector : struct => TLanes.LoadInt8(source);
}
