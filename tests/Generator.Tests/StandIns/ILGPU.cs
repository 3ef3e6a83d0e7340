// Exactly the members of ILGPU 1.5.3 that generated code uses, declared and nothing else: emitted kernels are compiled against it where the package
// is not at hand, so that no wrong type or member can land. tests/Ilgpu.Tests checks it against the package.

namespace ILGPU
{
    public struct Index1D
    {
    }

    public readonly struct ArrayView<T>
        where T : unmanaged
    {
        public readonly ref T this[int index] => throw null!;

        public readonly ref T this[long index] => throw null!;

        public readonly ArrayView<TOther> Cast<TOther>()
            where TOther : unmanaged => throw null!;
    }

    public static class Grid
    {
        public static int IdxX => throw null!;
    }

    public static class Group
    {
        public static int IdxX => throw null!;

        public static void Barrier() => throw null!;
    }

    public static class SharedMemory
    {
        public static ArrayView<T> Allocate<T>(int extent)
            where T : unmanaged => throw null!;
    }

    public static class Atomic
    {
        public static int Max(ref int target, int value) => throw null!;

        public static int Or(ref int target, int value) => throw null!;
    }
}

namespace ILGPU.Runtime.Cuda
{
    public static class CudaAsm
    {
        public static bool IsSupported => throw null!;

        public static void Emit(string asm) => throw null!;

        public static void Emit<T0>(string asm, T0 arg0)
            where T0 : struct => throw null!;

        public static void Emit<T0>(string asm, out T0 arg0)
            where T0 : struct => throw null!;

        public static void Emit<T0, T1>(string asm, T0 arg0, T1 arg1)
            where T0 : struct
            where T1 : struct => throw null!;

        public static void Emit<T0, T1>(string asm, out T0 arg0, T1 arg1)
            where T0 : struct
            where T1 : struct => throw null!;

        public static void Emit<T0, T1, T2>(string asm, T0 arg0, T1 arg1, T2 arg2)
            where T0 : struct
            where T1 : struct
            where T2 : struct => throw null!;

        public static void Emit<T0, T1, T2>(string asm, out T0 arg0, T1 arg1, T2 arg2)
            where T0 : struct
            where T1 : struct
            where T2 : struct => throw null!;

        public static void Emit<T0, T1, T2, T3>(string asm, out T0 arg0, T1 arg1, T2 arg2, T3 arg3)
            where T0 : struct
            where T1 : struct
            where T2 : struct
            where T3 : struct => throw null!;
    }
}
