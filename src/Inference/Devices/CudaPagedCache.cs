using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>The keys and values of all sequences in all layers of a device, in pages; a page has the same number in every layer.</summary>
internal sealed class CudaPagedCache : IDisposable
{
    private readonly List<(CudaBuffer Keys, CudaBuffer Values)> _layers = [];
    private readonly ulong _pageTable;
    private readonly int _pagesPerSequence;

    public CudaPagedCache(DeviceMemoryPlan memory, ulong pageTable, CudaContext context)
    {
        (_pageTable, _pagesPerSequence) = (pageTable, memory.PagesPerSequence);
        long bytes = memory.Pages * (memory.LayerPageBytes / 2);
        try
        {
            for (int layer = 0; layer < memory.Layers.Count; layer++)
            {
                CudaBuffer keys = new(context, bytes);
                _layers.Add((keys, keys));
                _layers[^1] = (keys, new CudaBuffer(context, bytes));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public CudaKeyValuePages Layer(int layer) => new(_layers[layer].Keys.Address, _layers[layer].Values.Address, _pageTable, _pagesPerSequence);

    public void Dispose()
    {
        foreach ((CudaBuffer keys, CudaBuffer values) in _layers)
        {
            keys.Dispose();
            values.Dispose();
        }
    }
}
