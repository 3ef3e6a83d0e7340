using System.Globalization;
using System.Runtime.InteropServices;

namespace KernelGen.Tuning;

/// <summary>
/// Says whether variants' results are right without having the oracle compute all of them. The first variant is held against the oracle on some rows
/// and columns, every further one against that one on all that was read back, bit for bit.
/// </summary>
/// <remarks>
/// That is enough because the results' bits are one function of the inputs, the same for every variant of a device (of whole outlier columns because
/// <see cref="SyntheticData"/>'s are small integers, whose sums are exact in any order): who differs anywhere from one that is right is wrong. Where two differ, the oracle computes the place and says which one it is, so that a wrong variant that came first and was
/// right where the oracle looked is found by the first right one. In float32, neighbouring int32 sums below 2^24 give different results, so equal
/// results mean equal sums; in 16 bits they mean that none is off by more than rounding.
/// </remarks>
/// <param name="oracle">Knows any result.</param>
/// <param name="rows">The rows that are read back, ascending; those of the oracle among them.</param>
/// <param name="n">Output features.</param>
/// <param name="format">The results' type.</param>
internal sealed class ResultVerifier(ResultOracle oracle, int[] rows, int n, ElementFormat format)
{
    private readonly Dictionary<string, string> _revoked = [];
    private readonly List<string> _accepted = [];
    private byte[]? _reference;

    /// <summary>The rows that are read back.</summary>
    public IReadOnlyList<int> Rows => rows;

    /// <summary>Bytes of all that is read back.</summary>
    public int Bytes => checked(rows.Length * n * ElementBytes);

    /// <summary>Variants that had passed and turned out to be wrong, with what is wrong.</summary>
    public IReadOnlyDictionary<string, string> Revoked => _revoked;

    private int ElementBytes => format == ElementFormat.Float32 ? 4 : 2;

    /// <summary>Compares a variant's results.</summary>
    /// <param name="variant">Its name.</param>
    /// <param name="results">The rows that are read back, one after the other.</param>
    /// <returns>What is wrong with them; null where nothing is.</returns>
    public string? Check(string variant, ReadOnlySpan<byte> results)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(results.Length, Bytes);
        if (_reference is not null)
        {
            int same = results.CommonPrefixLength(_reference);
            if (same == results.Length)
            {
                _accepted.Add(variant);
                return null;
            }

            int place = same / ElementBytes;
            string? wrong = CheckPlace(results, place / n, place % n, oracle.At(rows[place / n], place % n));
            if (wrong is not null)
            {
                return wrong;
            }

            // This one is right there, so that those before were not.
            string others = CheckPlace(_reference, place / n, place % n, oracle.At(rows[place / n], place % n))!;
            _accepted.ForEach(accepted => _revoked[accepted] = others);
            _accepted.Clear();
            _reference = null;
        }

        for (int i = 0; i < oracle.Rows.Length; i++)
        {
            int row = Array.BinarySearch(rows, oracle.Rows[i]);
            for (int j = 0; j < oracle.Columns.Length; j++)
            {
                if (CheckPlace(results, row, oracle.Columns[j], oracle.Expected[i, j]) is { } wrong)
                {
                    return wrong;
                }
            }
        }

        _reference = results.ToArray();
        _accepted.Add(variant);
        return null;
    }

    private string? CheckPlace(ReadOnlySpan<byte> results, int row, int column, float expected)
    {
        int place = (row * n) + column;
        (bool same, float got) = format switch
        {
            ElementFormat.Float32 => Compare(MemoryMarshal.Cast<byte, float>(results)[place], expected, static x => x, BitConverter.SingleToInt32Bits),
            ElementFormat.Float16 => Compare(MemoryMarshal.Cast<byte, Half>(results)[place], (Half)expected, static x => (float)x, static x => BitConverter.HalfToUInt16Bits(x)),
            _ => Compare(MemoryMarshal.Cast<byte, BFloat16>(results)[place], (BFloat16)expected, static x => x, static x => BitConverter.SingleToInt32Bits(x)),
        };
        return same
            ? null
            : string.Create(CultureInfo.InvariantCulture, $"row {rows[row]}, column {column} is {got:R}, the oracle says {expected:R}");
    }

    private static (bool Same, float Got) Compare<T>(T got, T expected, Func<T, float> widen, Func<T, int> bits) => (bits(got) == bits(expected), widen(got));
}
