using System.Runtime.InteropServices;
using KernelGen.Backends.Cuda;

namespace KernelGen.Kernels.Gpu;

/// <summary>Arrays of one test in device memory.</summary>
internal sealed unsafe class DeviceData(CudaContext context, CudaStream stream) : IDisposable
{
    private readonly List<CudaBuffer> owned = [];

    public CudaStream Stream => stream;

    /// <summary>Memory full of NaN, whatever the type.</summary>
    public ulong Allocate(long bytes, byte fill = 0xFF)
    {
        CudaBuffer buffer = new(context, Math.Max(bytes, 16));
        owned.Add(buffer);
        buffer.Fill(fill, stream);
        return buffer.Address;
    }

    public ulong Upload<T>(T[] values)
        where T : unmanaged
    {
        ulong address = Allocate((long)values.Length * sizeof(T));
        owned[^1].Upload<T>(values, stream);
        stream.Synchronize();
        return address;
    }

    /// <summary>Writes to the memory that was allocated last.</summary>
    public void Write<T>(ReadOnlySpan<T> values, long byteOffset)
        where T : unmanaged => owned[^1].Upload(values, stream, byteOffset);

    /// <summary>Values rounded to a type, and what they have become.</summary>
    public ulong Upload(float[] values, ElementFormat format, out float[] rounded)
    {
        byte[] encoded = CudaCase.Encode(values, format);
        rounded = CudaCase.Decode(encoded, format);
        return Upload(encoded);
    }

    public T[] Read<T>(ulong address, int count)
        where T : unmanaged
    {
        T[] result = new T[count];
        context.Use();
        fixed (T* pointer = result)
        {
            CudaDriver.Check(CudaDriver.cuMemcpyDtoHAsync_v2(pointer, address, (nuint)((long)count * sizeof(T)), stream.Value));
            stream.Synchronize();
        }

        return result;
    }

    public float[] ReadHalves(ulong address, int count) => Array.ConvertAll(Read<Half>(address, count), value => (float)value);

    public void Dispose() => owned.ForEach(buffer => buffer.Dispose());

    /// <summary>Uniform values around zero.</summary>
    public static float[] Random(Random random, int count, float size)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = (random.NextSingle() - 0.5f) * 2 * size;
        }

        return values;
    }

    public static string Bits<T>(T[] values)
        where T : unmanaged => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(MemoryMarshal.AsBytes<T>(values)));
}
