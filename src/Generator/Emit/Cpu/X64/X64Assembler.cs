using System.Globalization;

namespace KernelGen.Generator.Emit.Cpu.X64;

/// <summary>
/// Encodes the instructions of the machine code kernels and keeps, beside each, the text that a disassembler shows, destination first. Only what the
/// kernels use is here. Encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
/// </summary>
internal sealed class X64Assembler
{
    private readonly List<(byte[] Bytes, string Text)> _instructions = new();

    /// <summary>Bytes so far: where the next instruction begins.</summary>
    public int Length { get; private set; }

    public IReadOnlyList<(byte[] Bytes, string Text)> Instructions => _instructions;

    // General registers.

    public void Move(Gpr to, Gpr from) => Add($"mov {to}, {from}", Rex(from, to), 0x89, ModRm(from, to));

    public void Clear(Gpr to) => Add($"xor {to}, {to}", Rex(to, to), 0x31, ModRm(to, to));

    public void Load(Gpr to, X64Address from) => AddMemory($"mov {to}, {from}", to, from, 0x8B);

    public void LoadAddress(Gpr to, X64Address address) => AddMemory($"lea {to}, {address}", to, address, 0x8D);

    public void Add(Gpr to, Gpr from) => Add($"add {to}, {from}", Rex(from, to), 0x01, ModRm(from, to));

    public void Add(Gpr to, int value) => Add([Rex(0, to), 0x81, ModRm(0, to), .. Int32(value)], $"add {to}, {Text(value)}");

    public void Multiply(Gpr to, Gpr from, int value) => Add([Rex(to, from), 0x69, ModRm(to, from), .. Int32(value)], $"imul {to}, {from}, {Text(value)}");

    public void Compare(Gpr left, Gpr right) => Add($"cmp {left}, {right}", Rex(right, left), 0x39, ModRm(right, left));

    /// <summary>Back to an earlier instruction, if the compared left value is below the right one, both taken as unsigned.</summary>
    public void JumpIfBelow(int target) => Add([0x0F, 0x82, .. Int32(target - (Length + 6))], $"jb {Text(target)}");

    public void Return() => Add("ret", 0xC3);

    /// <summary>Asks for the line in all caches but the first.</summary>
    public void PrefetchSecondLevel(X64Address line) => Add([.. RexOf(default, line, wide: false), 0x0F, 0x18, .. line.Encode(2, 1)], $"prefetcht1 {line}");

    // Mask registers hold what general registers have no room for.

    public void MoveToMask(int mask, Gpr from) => Add($"kmovq k{Text(mask)}, {from}", 0xC4, (byte)(Extends(from) ? 0xC1 : 0xE1), 0xFB, 0x92, (byte)(0xC0 | (mask << 3) | Low(from)));

    public void MoveFromMask(Gpr to, int mask) => Add($"kmovq {to}, k{Text(mask)}", 0xC4, (byte)(Extends(to) ? 0x61 : 0xE1), 0xFB, 0x93, (byte)(0xC0 | (Low(to) << 3) | mask));

    // Vectors of 512 bits.

    public void LoadVector(int to, X64Address from) => AddEvex($"vmovdqu32 zmm{Text(to)}, {from}", Map.F, Prefix.F3, 0x6F, to, 0, from, 64);

    public void StoreVector(X64Address to, int from) => AddEvex($"vmovdqu32 {to}, zmm{Text(from)}", Map.F, Prefix.F3, 0x7F, from, 0, to, 64);

    public void ClearVector(int to) => AddEvex($"vpxord zmm{Text(to)}, zmm{Text(to)}, zmm{Text(to)}", Map.F, Prefix.P66, 0xEF, to, to, to);

    public void AddVectors(int to, int a, int b) => AddEvex($"vpaddd zmm{Text(to)}, zmm{Text(a)}, zmm{Text(b)}", Map.F, Prefix.P66, 0xFE, to, a, b);

    public void BroadcastInt32(int to, X64Address from) => AddEvex($"vpbroadcastd zmm{Text(to)}, {from}", Map.F38, Prefix.P66, 0x58, to, 0, from, 4);

    /// <summary>Adds the four products of unsigned and signed bytes of each lane to its sum. AVX512-VNNI; nothing saturates.</summary>
    public void MultiplyAddBytes(int sum, int unsigned, int signed) =>
        AddEvex($"vpdpbusd zmm{Text(sum)}, zmm{Text(unsigned)}, zmm{Text(signed)}", Map.F38, Prefix.P66, 0x50, sum, unsigned, signed);

    // Tiles: up to 16 rows of 64 bytes. AMX.

    public void LoadTileConfiguration(X64Address from) => AddTile($"ldtilecfg {from}", Prefix.None, 0x49, 0, from);

    /// <summary>Rows from base + displacement on, a row every so many bytes as the index register says.</summary>
    public void LoadTile(int to, X64Address from) => AddTile($"tileloadd tmm{Text(to)}, {from}", Prefix.F2, 0x4B, to, from);

    public void StoreTile(X64Address to, int from) => AddTile($"tilestored {to}, tmm{Text(from)}", Prefix.F3, 0x4B, from, to);

    /// <summary>Adds the product of unsigned rows and signed columns, which lie four of K side by side. AMX-INT8.</summary>
    public void MultiplyAddTiles(int sum, int unsigned, int signed) => Add(
        $"tdpbusd tmm{Text(sum)}, tmm{Text(unsigned)}, tmm{Text(signed)}", 0xC4, 0xE2, (byte)(((~signed & 15) << 3) | (int)Prefix.P66), 0x5E, (byte)(0xC0 | (sum << 3) | unsigned));

    /// <summary>Tiles hold nothing any more, so that a switch of threads need not save them.</summary>
    public void ReleaseTiles() => Add("tilerelease", 0xC4, 0xE2, 0x78, 0x49, 0xC0);

    /// <summary>Before a return: code that does not know of the registers' upper halves is slow while they hold something.</summary>
    public void ZeroUpper() => Add("vzeroupper", 0xC5, 0xF8, 0x77);

    internal enum Map
    {
        F = 1,
        F38 = 2,
    }

    internal enum Prefix
    {
        None = 0,
        P66 = 1,
        F3 = 2,
        F2 = 3,
    }

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static bool Extends(Gpr register) => (int)register >= 8;

    private static int Low(Gpr register) => (int)register & 7;

    private static byte Rex(Gpr register, Gpr operand) => (byte)(0x48 | (Extends(register) ? 4 : 0) | (Extends(operand) ? 1 : 0));

    private static byte ModRm(Gpr register, Gpr operand) => (byte)(0xC0 | (Low(register) << 3) | Low(operand));

    private static byte[] RexOf(Gpr register, X64Address address, bool wide)
    {
        int rex = (wide ? 8 : 0) | (Extends(register) ? 4 : 0) | (address.Index is { } index && Extends(index) ? 2 : 0) | (Extends(address.Base) ? 1 : 0);
        return rex == 0 ? [] : [(byte)(0x40 | rex)];
    }

    private static byte[] Int32(int value) => [(byte)value, (byte)(value >> 8), (byte)(value >> 16), (byte)(value >> 24)];

    private void AddMemory(string text, Gpr register, X64Address address, byte opcode) =>
        Add([.. RexOf(register, address, wide: true), opcode, .. address.Encode(Low(register), 1)], text);

    /// <summary>EVEX, 512 bits, 32-bit elements, no mask; the last operand a register.</summary>
    private void AddEvex(string text, Map map, Prefix prefix, byte opcode, int register, int second, int last) => Add(
        [
            0x62,
            EvexMap(map, register, (last & 16) != 0, (last & 8) != 0),
            EvexSecond(prefix, second),
            EvexLength(second),
            opcode,
            (byte)(0xC0 | ((register & 7) << 3) | (last & 7)),
        ],
        text);

    /// <summary>The same with a memory operand, whose displacement counts in units of what it reads.</summary>
    private void AddEvex(string text, Map map, Prefix prefix, byte opcode, int register, int second, X64Address address, int unit) => Add(
        [
            0x62,
            EvexMap(map, register, address.Index is { } index && Extends(index), Extends(address.Base)),
            EvexSecond(prefix, second),
            EvexLength(second),
            opcode,
            .. address.Encode(register & 7, unit),
        ],
        text);

    /// <summary>VEX, 128 bits, W0, map 0F38, with a memory operand.</summary>
    private void AddTile(string text, Prefix prefix, byte opcode, int register, X64Address address) => Add(
        [
            0xC4,
            (byte)(0x80 | (address.Index is { } index && Extends(index) ? 0 : 0x40) | (Extends(address.Base) ? 0 : 0x20) | (int)Map.F38),
            (byte)(0x78 | (int)prefix),
            opcode,
            .. address.Encode(register, 1),
        ],
        text);

    /// <summary>R, X, B and R' are stored inverted.</summary>
    private static byte EvexMap(Map map, int register, bool x, bool b) => (byte)(
        ((register & 8) == 0 ? 0x80 : 0) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | ((register & 16) == 0 ? 0x10 : 0) | (int)map);

    private static byte EvexSecond(Prefix prefix, int second) => (byte)(((~second & 15) << 3) | 4 | (int)prefix);

    private static byte EvexLength(int second) => (byte)(0x40 | ((second & 16) == 0 ? 8 : 0));

    private void Add(string text, params byte[] bytes) => Add(bytes, text);

    private void Add(byte[] bytes, string text)
    {
        _instructions.Add((bytes, text));
        Length += bytes.Length;
    }
}
