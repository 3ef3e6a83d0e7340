using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;

namespace KernelGen.Inference.Conversion;

/// <summary>
/// A file's 128-bit checksum: CRC-32C, which processors compute in hardware, of four interleaved streams of 8-byte words, so that one
/// instruction need not wait for the one before. Many times as fast as SHA-256, which would cost more than quantizing does. It finds damage;
/// it is no proof against forgery, and need not be: who can forge the unfinished files can forge their journal.
/// </summary>
internal static class FileChecksum
{
    private const int Lanes = 4, Stride = Lanes * sizeof(ulong);

    private const int BufferBytes = 1 << 20;

    /// <summary>Computes a file's checksum, as hexadecimal digits.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static string Of(string path)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0, FileOptions.SequentialScan);
        return Of(stream);
    }

    /// <summary>Computes the checksum of a stream, from where it is to its end.</summary>
    public static string Of(Stream stream)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferBytes);
        uint a = uint.MaxValue, b = a, c = a, d = a;
        long length = 0;
        int count;
        do
        {
            count = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            length += count;

            // The last words are filled up with zeros, which the length tells from zeros in the file.
            int padded = (count + Stride - 1) / Stride * Stride;
            buffer.AsSpan(count, padded - count).Clear();
            ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(buffer.AsSpan(0, padded));
            for (int i = 0; i + Lanes <= words.Length; i += Lanes)
            {
                a = BitOperations.Crc32C(a, words[i]);
                b = BitOperations.Crc32C(b, words[i + 1]);
                c = BitOperations.Crc32C(c, words[i + 2]);
                d = BitOperations.Crc32C(d, words[i + 3]);
            }
        }
        while (count == buffer.Length);
        a = BitOperations.Crc32C(a, (ulong)length);
        return string.Create(CultureInfo.InvariantCulture, $"{a:x8}{b:x8}{c:x8}{d:x8}");
    }
}
