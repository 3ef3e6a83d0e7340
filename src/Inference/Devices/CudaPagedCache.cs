using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>
/// The keys and values of all sequences in all layers of a device, in pages; a page has the same number in every layer. An int8 cache has one layer in float16
/// beside it, through which every layer's new keys and values go, and in which the prompts' attention finds them.
/// </summary>
internal sealed class CudaPagedCache : IDisposable
{
    private readonly List<CudaBuffer> _buffers = [];
    private readonly List<CudaKeyValuePages> _layers = [];
    private readonly List<CudaInt8Pages> _int8 = [];

    public CudaPagedCache(DeviceMemoryPlan memory, ulong pageTable, CudaContext context)
    {
        try
        {
            for (int layer = 0; layer < memory.Layers.Count; layer++)
            {
                if (memory.IsInt8Cache)
                {
                    _int8.Add(new CudaInt8Pages(
                        Allocate(memory.HalfPageBytes / 4), Allocate(memory.HalfPageBytes / 4), Allocate(memory.StepPageBytes / 2), Allocate(memory.StepPageBytes / 2)));
                }

                _layers.Add(memory.IsInt8Cache && layer > 0
                    ? _layers[0]
                    : new CudaKeyValuePages(Allocate(memory.HalfPageBytes / 2), Allocate(memory.HalfPageBytes / 2), pageTable, memory.PagesPerSequence, memory.Pages));
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        ulong Allocate(long pageBytes)
        {
            CudaBuffer buffer = new(context, memory.Pages * pageBytes);
            _buffers.Add(buffer);
            return buffer.Address;
        }
    }

    /// <summary>The float16 pages, of every layer or of all.</summary>
    public CudaKeyValuePages Layer(int layer) => _layers[layer];

    /// <summary>A layer's int8 pages; null where the cache is float16.</summary>
    public CudaInt8Pages? Int8(int layer) => _int8.Count == 0 ? null : _int8[layer];

    public void Dispose()
    {
        foreach (CudaBuffer buffer in _buffers)
        {
            buffer.Dispose();
        }
    }
}
