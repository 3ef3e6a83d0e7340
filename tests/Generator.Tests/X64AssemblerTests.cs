using System.Globalization;
using KernelGen.Generator.Emit.Cpu.X64;

namespace KernelGen.Generator.Tests;

/// <summary>The assembler of the machine code kernels against GNU as: text and bytes of every instruction, over registers and addresses of every encoding.</summary>
public sealed class X64AssemblerTests
{
    private static readonly List<(string Text, string Bytes, Action<X64Assembler> Write)> _instructions =
    [
        ("mov rcx, rdi", "48 89 F9", code => code.Move(Gpr.rcx, Gpr.rdi)),
        ("mov r9, rax", "49 89 C1", code => code.Move(Gpr.r9, Gpr.rax)),
        ("xor rcx, rcx", "48 31 C9", code => code.Clear(Gpr.rcx)),
        ("xor r11, r11", "4D 31 DB", code => code.Clear(Gpr.r11)),
        ("mov rax, [rcx]", "48 8B 01", code => code.Load(Gpr.rax, new(Gpr.rcx))),
        ("mov r8, [rcx+16]", "4C 8B 41 10", code => code.Load(Gpr.r8, new(Gpr.rcx, Displacement: 16))),
        ("mov rdx, [r10+1000]", "49 8B 92 E8 03 00 00", code => code.Load(Gpr.rdx, new(Gpr.r10, Displacement: 1000))),
        ("mov rsi, [rdi-8]", "48 8B 77 F8", code => code.Load(Gpr.rsi, new(Gpr.rdi, Displacement: -8))),
        ("lea r10, [rax+rdx*2]", "4C 8D 14 50", code => code.LoadAddress(Gpr.r10, new(Gpr.rax, Gpr.rdx, 2))),
        ("lea rax, [r9+r11*1+8]", "4B 8D 44 19 08", code => code.LoadAddress(Gpr.rax, new(Gpr.r9, Gpr.r11, 1, 8))),
        ("add r10, rdx", "49 01 D2", code => code.Add(Gpr.r10, Gpr.rdx)),
        ("add rax, r9", "4C 01 C8", code => code.Add(Gpr.rax, Gpr.r9)),
        ("add r11, 100000", "49 81 C3 A0 86 01 00", code => code.Add(Gpr.r11, 100000)),
        ("add rsi, -4096", "48 81 C6 00 F0 FF FF", code => code.Add(Gpr.rsi, -4096)),
        ("imul rcx, r9, 1000", "49 69 C9 E8 03 00 00", code => code.Multiply(Gpr.rcx, Gpr.r9, 1000)),
        ("imul r9, rax, 192", "4C 69 C8 C0 00 00 00", code => code.Multiply(Gpr.r9, Gpr.rax, 192)),
        ("cmp rax, r9", "4C 39 C8", code => code.Compare(Gpr.rax, Gpr.r9)),
        ("prefetcht1 [r8+rcx*1]", "41 0F 18 14 08", code => code.PrefetchSecondLevel(new(Gpr.r8, Gpr.rcx))),
        ("prefetcht1 [rax+64]", "0F 18 50 40", code => code.PrefetchSecondLevel(new(Gpr.rax, Displacement: 64))),
        ("prefetcht1 [rax+rdx*1+128]", "0F 18 94 10 80 00 00 00", code => code.PrefetchSecondLevel(new(Gpr.rax, Gpr.rdx, 1, 128))),
        ("kmovq k1, rcx", "C4 E1 FB 92 C9", code => code.MoveToMask(1, Gpr.rcx)),
        ("kmovq k7, r9", "C4 C1 FB 92 F9", code => code.MoveToMask(7, Gpr.r9)),
        ("kmovq rcx, k1", "C4 E1 FB 93 C9", code => code.MoveFromMask(Gpr.rcx, 1)),
        ("kmovq r9, k7", "C4 61 FB 93 CF", code => code.MoveFromMask(Gpr.r9, 7)),
        ("vmovdqu32 zmm16, [r8]", "62 C1 7E 48 6F 00", code => code.LoadVector(16, new(Gpr.r8))),
        ("vmovdqu32 zmm3, [rax+64]", "62 F1 7E 48 6F 58 01", code => code.LoadVector(3, new(Gpr.rax, Displacement: 64))),
        ("vmovdqu32 zmm31, [r8+8192]", "62 41 7E 48 6F B8 00 20 00 00", code => code.LoadVector(31, new(Gpr.r8, Displacement: 8192))),
        ("vmovdqu32 zmm9, [r8+r9*1-64]", "62 11 7E 48 6F 4C 08 FF", code => code.LoadVector(9, new(Gpr.r8, Gpr.r9, 1, -64))),
        ("vmovdqu32 zmm25, [rax+4]", "62 61 7E 48 6F 88 04 00 00 00", code => code.LoadVector(25, new(Gpr.rax, Displacement: 4))),
        ("vmovdqu32 [rax], zmm22", "62 E1 7E 48 7F 30", code => code.StoreVector(new(Gpr.rax), 22)),
        ("vmovdqu32 [r11+rdx*2+128], zmm5", "62 D1 7E 48 7F 6C 53 02", code => code.StoreVector(new(Gpr.r11, Gpr.rdx, 2, 128), 5)),
        ("vpxord zmm19, zmm19, zmm19", "62 A1 65 40 EF DB", code => code.ClearVector(19)),
        ("vpxord zmm2, zmm2, zmm2", "62 F1 6D 48 EF D2", code => code.ClearVector(2)),
        ("vpaddd zmm16, zmm16, zmm18", "62 A1 7D 40 FE C2", code => code.AddVectors(16, 16, 18)),
        ("vpaddd zmm1, zmm25, zmm12", "62 D1 35 40 FE CC", code => code.AddVectors(1, 25, 12)),
        ("vpbroadcastd zmm22, [rax]", "62 E2 7D 48 58 30", code => code.BroadcastInt32(22, new(Gpr.rax))),
        ("vpbroadcastd zmm4, [r10+rdx*2+4]", "62 D2 7D 48 58 64 52 01", code => code.BroadcastInt32(4, new(Gpr.r10, Gpr.rdx, 2, 4))),
        ("vpbroadcastd zmm4, [r11+rdx*1+512]", "62 D2 7D 48 58 A4 13 00 02 00 00", code => code.BroadcastInt32(4, new(Gpr.r11, Gpr.rdx, 1, 512))),
        ("vpdpbusd zmm16, zmm22, zmm20", "62 A2 4D 40 50 C4", code => code.MultiplyAddBytes(16, 22, 20)),
        ("vpdpbusd zmm5, zmm1, zmm31", "62 92 75 48 50 EF", code => code.MultiplyAddBytes(5, 1, 31)),
        ("vpdpbusd zmm24, zmm9, zmm2", "62 62 35 48 50 C2", code => code.MultiplyAddBytes(24, 9, 2)),
        ("ldtilecfg [r10]", "C4 C2 78 49 02", code => code.LoadTileConfiguration(new(Gpr.r10))),
        ("ldtilecfg [rdi+64]", "C4 E2 78 49 47 40", code => code.LoadTileConfiguration(new(Gpr.rdi, Displacement: 64))),
        ("tileloadd tmm4, [rax+rdx*1]", "C4 E2 7B 4B 24 10", code => code.LoadTile(4, new(Gpr.rax, Gpr.rdx))),
        ("tileloadd tmm7, [r8+r11*1+192]", "C4 82 7B 4B BC 18 C0 00 00 00", code => code.LoadTile(7, new(Gpr.r8, Gpr.r11, 1, 192))),
        ("tilestored [rax+rdx*1+64], tmm1", "C4 E2 7A 4B 4C 10 40", code => code.StoreTile(new(Gpr.rax, Gpr.rdx, 1, 64), 1)),
        ("tilestored [r9+rcx*1], tmm3", "C4 C2 7A 4B 1C 09", code => code.StoreTile(new(Gpr.r9, Gpr.rcx), 3)),
        ("tdpbusd tmm0, tmm4, tmm6", "C4 E2 49 5E C4", code => code.MultiplyAddTiles(0, 4, 6)),
        ("tdpbusd tmm3, tmm5, tmm7", "C4 E2 41 5E DD", code => code.MultiplyAddTiles(3, 5, 7)),
        ("tilerelease", "C4 E2 78 49 C0", code => code.ReleaseTiles()),
        ("vzeroupper", "C5 F8 77", code => code.ZeroUpper()),
        ("ret", "C3", code => code.Return()),
    ];

    [Fact]
    public void Every_instruction_has_the_text_and_the_bytes_that_GNU_as_gives_it()
    {
        Assert.All(_instructions, instruction =>
        {
            X64Assembler code = new();
            instruction.Write(code);
            (byte[] bytes, string text) = Assert.Single(code.Instructions);
            Assert.Equal(instruction.Text, text);
            Assert.Equal(instruction.Bytes, string.Join(' ', bytes.Select(b => b.ToString("X2", CultureInfo.InvariantCulture))));
            Assert.Equal(bytes.Length, code.Length);
        });
    }

    [Fact]
    public void Windows_enters_behind_the_first_instruction() =>
        Assert.Equal(CpuGemmArguments.SystemVEntryBytes, X64GemmCode.Assemble(new CpuTile(8, 32, 4), 22).Instructions[0].Bytes.Length);

    [Fact]
    public void A_jump_leads_back_from_the_end_of_its_instruction()
    {
        X64Assembler code = new();
        code.Return();
        int target = code.Length;
        code.ZeroUpper();
        code.JumpIfBelow(target);
        Assert.Equal([0x0F, 0x82, 0xF7, 0xFF, 0xFF, 0xFF], code.Instructions[^1].Bytes);
    }
}
