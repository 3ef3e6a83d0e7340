using System.Globalization;

namespace KernelGen.Generator.Emit.Cpu.X64;

/// <summary>The general registers that a function may change: in both calling conventions, System V and Windows, all but rsi and rdi; those in System V's.</summary>
internal enum Gpr
{
    rax = 0,
    rcx = 1,
    rdx = 2,
    rsi = 6,
    rdi = 7,
    r8 = 8,
    r9 = 9,
    r10 = 10,
    r11 = 11,
}

/// <summary>A memory operand: base + index * scale + displacement.</summary>
/// <param name="Base">The base register.</param>
/// <param name="Index">The register that is scaled, if any.</param>
/// <param name="Scale">1 or 2.</param>
/// <param name="Displacement">Bytes.</param>
internal readonly record struct X64Address(Gpr Base, Gpr? Index = null, int Scale = 1, int Displacement = 0)
{
    public override string ToString()
    {
        string index = Index is { } register ? $"+{register}*{Scale.ToString(CultureInfo.InvariantCulture)}" : string.Empty;
        string displacement = Displacement switch
        {
            0 => string.Empty,
            < 0 => Displacement.ToString(CultureInfo.InvariantCulture),
            _ => $"+{Displacement.ToString(CultureInfo.InvariantCulture)}",
        };
        return $"[{Base}{index}{displacement}]";
    }

    /// <summary>ModRM, SIB and displacement, which is a byte where it is a multiple of the unit in reach, and four bytes elsewhere.</summary>
    public byte[] Encode(int register, int unit)
    {
        // r8 to r11, rax, rcx, rdx and rdi need no special form, as rbp, rsp, r12 and r13 would.
        bool isShort = Displacement % unit == 0 && Displacement / unit is >= sbyte.MinValue and <= sbyte.MaxValue;
        int mode = Displacement == 0 ? 0 : isShort ? 1 : 2;
        List<byte> bytes = new() { (byte)((mode << 6) | (register << 3) | (Index is null ? (int)Base & 7 : 4)) };
        if (Index is { } index)
        {
            bytes.Add((byte)((Scale == 2 ? 0x40 : 0) | (((int)index & 7) << 3) | ((int)Base & 7)));
        }

        if (mode == 1)
        {
            bytes.Add((byte)(Displacement / unit));
        }
        else if (mode == 2)
        {
            bytes.AddRange([(byte)Displacement, (byte)(Displacement >> 8), (byte)(Displacement >> 16), (byte)(Displacement >> 24)]);
        }

        return bytes.ToArray();
    }
}
