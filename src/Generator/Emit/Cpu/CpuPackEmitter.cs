using KernelGen.Generator.Planning;

namespace KernelGen.Generator.Emit.Cpu;

/// <summary>Writes the function that interleaves weight rows into the panels that a family's microkernels read.</summary>
internal static class CpuPackEmitter
{
    public static void Write(CodeWriter writer, CpuFamilyPlan family)
    {
        CpuTarget target = family.Target;
        bool header = target.Format == ActivationFormat.UInt8;
        int headerBytes = header ? family.PanelWidth * sizeof(int) : 0;
        writer.Line($"/// <summary>Packs up to {family.PanelWidth} weight rows: per group of {target.K} of K the rows side by side{(header ? ", after -128 * sum(w) of each row" : string.Empty)}.</summary>");
        using (writer.Block("internal static void PackPanel(ref sbyte source, nint sourceStride, int rows, int k, ref byte panel)"))
        {
            writer.Line($"nint groups = (k + {target.K - 1}) / {target.K};");
            writer.Line($"global::System.Runtime.InteropServices.MemoryMarshal.CreateSpan(ref panel, checked((int)({headerBytes} + (groups * {family.PanelWidth * target.K})))).Clear();");
            using (writer.Block("for (int n = 0; n < rows; n++)"))
            {
                writer.Line("ref sbyte row = ref global::System.Runtime.CompilerServices.Unsafe.AddByteOffset(ref source, n * sourceStride);");
                writer.Line($"ref byte target = ref global::System.Runtime.CompilerServices.Unsafe.AddByteOffset(ref panel, (nint)({headerBytes} + (n * {target.K})));");
                if (header)
                {
                    writer.Line("int sum = 0;");
                }

                using (writer.Block("for (int i = 0; i < k; i++)"))
                {
                    writer.Line("sbyte w = global::System.Runtime.CompilerServices.Unsafe.Add(ref row, i);");
                    string offset = target.K == 1
                        ? $"(nint)i * {family.PanelWidth}"
                        : $"((nint)(i / {target.K}) * {family.PanelWidth * target.K}) + (i % {target.K})";
                    writer.Line($"global::System.Runtime.CompilerServices.Unsafe.AddByteOffset(ref target, {offset}) = unchecked((byte)w);");
                    if (header)
                    {
                        writer.Line("sum += w;");
                    }
                }

                if (header)
                {
                    writer.Line("global::System.Runtime.CompilerServices.Unsafe.WriteUnaligned(ref global::System.Runtime.CompilerServices.Unsafe.AddByteOffset(ref panel, (nint)(n * sizeof(int))), unchecked(-128 * sum));");
                }
            }
        }
    }
}
