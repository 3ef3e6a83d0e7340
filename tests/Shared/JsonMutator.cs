using System.Text;

namespace KernelGen.Tests;

/// <summary>Damages JSON in the ways that hit a reader hardest: bytes, numbers, tokens, repeated and missing pieces, depth.</summary>
internal sealed class JsonMutator(int seed)
{
    private static readonly byte[][] Fragments = [.. ((string[])
    [
        "-1", "0", "1e400", "9223372036854775807", "9223372036854775808", "4294967296", "2147483648", "0.5", "null", "true", "\"\"", "[]", "{}",
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\ud800", "\\u0000", new string('[', 70), new string('[', 5000), "\"F32\"", "\"F4\"", "\"__metadata__\"",
        "\"shape\":[1],", "\"..\"", "\"/etc/passwd\"", "\"a/../b\"", "\"type\":\"Sequence\",", "\"\u20ac\"",
    ]).Select(Encoding.UTF8.GetBytes), [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0]];

    private readonly Random _random = new(seed);

    public int Next(int limit) => _random.Next(limit);

    public byte[] Mutate(ReadOnlySpan<byte> source)
    {
        List<byte> json = [.. source];
        for (int rounds = 1 + _random.Next(3); rounds > 0; rounds--)
        {
            int at = _random.Next(json.Count + 1);
            int length = Math.Min(_random.Next(1, 24), json.Count - at);
            switch (_random.Next(7))
            {
                case 0 when at < json.Count:
                    json[at] ^= (byte)(1 << _random.Next(8));
                    break;
                case 1:
                    json.RemoveRange(at, length);
                    break;
                case 2:
                    json.InsertRange(_random.Next(json.Count + 1), json.GetRange(at, length));
                    break;
                case 3:
                    ReplaceNumber(json, at);
                    break;
                case 4:
                    json.RemoveRange(at, json.Count - at);
                    break;
                case 5:
                    json.RemoveRange(at, length);
                    json.InsertRange(at, Fragment());
                    break;
                default:
                    json.InsertRange(at, Fragment());
                    break;
            }
        }

        return [.. json];
    }

    private byte[] Fragment() => Fragments[_random.Next(Fragments.Length)];

    private void ReplaceNumber(List<byte> json, int from)
    {
        int start = json.FindIndex(Math.Min(from, json.Count), static value => value is >= (byte)'0' and <= (byte)'9');
        if (start >= 0)
        {
            int end = start;
            while (end < json.Count && json[end] is >= (byte)'0' and <= (byte)'9')
            {
                end++;
            }

            json.RemoveRange(start, end - start);
            json.InsertRange(start, _random.Next(2) == 0 ? Fragment() : Encoding.ASCII.GetBytes(_random.Next(-3, 300).ToString()));
        }
    }
}
