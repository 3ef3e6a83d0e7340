using System.Buffers.Binary;
using System.Text;

namespace KernelGen.Inference.Tests.Checkpoints;

/// <summary>Composes the bytes of safetensors files by hand, valid or not.</summary>
internal static class SafetensorsBytes
{
    public static byte[] File(byte[] header, byte[] values, ulong? claimedLength = null)
    {
        byte[] file = new byte[8 + header.Length + values.Length];
        BinaryPrimitives.WriteUInt64LittleEndian(file, claimedLength ?? (ulong)header.Length);
        header.CopyTo(file, 8);
        values.CopyTo(file, 8 + header.Length);
        return file;
    }

    public static byte[] File(string header, int valueBytes, ulong? claimedLength = null) =>
        File(Encoding.UTF8.GetBytes(header), new byte[valueBytes], claimedLength);

    /// <summary>A file with one float32 vector of ones under each name.</summary>
    public static byte[] Ones(params string[] names)
    {
        string entries = string.Join(',', names.Select(static (name, i) => $$"""
            "{{name}}":{"dtype":"F32","shape":[2],"data_offsets":[{{i * 8}},{{i * 8 + 8}}]}
            """));
        byte[] values = new byte[names.Length * 8];
        for (int i = 0; i < values.Length; i += 4)
        {
            BinaryPrimitives.WriteSingleLittleEndian(values.AsSpan(i), 1);
        }

        return File(Encoding.UTF8.GetBytes("{" + entries + "}"), values);
    }
}
