using System.Runtime.InteropServices;

namespace KernelGen.Generator.Emit.Cuda;

/// <summary>The size of the parameter blocks, from their one definition.</summary>
internal static class Arguments
{
    public static int Size { get; } = Marshal.SizeOf<GemmArguments>();

    public static int RowSize { get; } = Marshal.SizeOf<RowGemmArguments>();
}
