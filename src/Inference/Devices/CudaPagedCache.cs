using KernelGen.Backends.Cuda;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>The keys and values of all sequences in all layers, in pages; a page has the same number in every layer.</summary>
internal sealed class CudaPagedCache : IDisposable
{
    private readonly List<(CudaBuffer Keys, CudaBuffer Values)> _layers = [];
    private readonly ulong _pageTable;
    private readonly int _pagesPerSequence;

    public CudaPagedCache(DecoderDescription description, DeviceMemoryPlan memory, ulong pageTable, CudaContext context)
    {
        (_pageTable, _pagesPerSequence) = (pageTable, memory.PagesPerSequence);
        long bytes = memory.Pages * (memory.PageBytes / (2 * description.Layers.Count));
        try
        {
            foreach (DecoderLayerDescription _ in description.Layers)
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
