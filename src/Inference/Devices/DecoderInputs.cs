using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>
/// What changes from step to step, in pinned memory and on the device: tokens, positions, page-table lines of the rows, how tokens are drawn, tiles of
/// prompts, and the page table. A step's graph copies it and reads it there, so that one graph serves every step.
/// </summary>
internal sealed unsafe class DecoderInputs : IDisposable
{
    private const int Alignment = 256;

    private readonly PinnedBuffer _host;
    private readonly CudaBuffer _device;
    private readonly PinnedBuffer _hostTable;
    private readonly CudaBuffer _deviceTable;
    private readonly PinnedBuffer _chosen;
    private readonly bool _ownsHost;
    private readonly int _rows;
    private readonly int _batch;
    private readonly int _pagesPerSequence;

    /// <param name="memory">Sizes.</param>
    /// <param name="context">The device.</param>
    /// <param name="home">Another device's inputs, whose pinned memory is copied to this one as well; null for memory of its own.</param>
    public DecoderInputs(DeviceMemoryPlan memory, CudaContext context, DecoderInputs? home = null)
    {
        (_rows, _batch, _pagesPerSequence) = (memory.Rows, memory.Batch, memory.PagesPerSequence);
        _ownsHost = home is null;
        _host = home?._host ?? new PinnedBuffer(context, StepBytes(memory));
        _device = new CudaBuffer(context, StepBytes(memory));
        _hostTable = home?._hostTable ?? new PinnedBuffer(context, TableBytes(memory));
        _deviceTable = new CudaBuffer(context, TableBytes(memory));
        _chosen = home?._chosen ?? new PinnedBuffer(context, (long)memory.Batch * sizeof(uint));
        if (_ownsHost)
        {
            _hostTable.Span<byte>().Clear();
        }
    }

    public ulong Tokens => _device.Address;

    public ulong Positions => _device.Address + (ulong)Offset(1);

    public ulong Sequences => _device.Address + (ulong)Offset(2);

    public ulong Sampling => _device.Address + (ulong)Offset(3);

    public ulong Tiles => Sampling + (ulong)SamplingBytes(_batch);

    public ulong PageTable => _deviceTable.Address;

    /// <summary>u32 [rows].</summary>
    public Span<uint> HostTokens => Words(0);

    /// <summary>u32 [rows].</summary>
    public Span<uint> HostPositions => Words(1);

    /// <summary>u32 [rows].</summary>
    public Span<uint> HostSequences => Words(2);

    /// <summary>[batch].</summary>
    public Span<SamplingRow> HostSampling => MemoryMarshal.Cast<byte, SamplingRow>(_host.Span<byte>()[Offset(3)..])[.._batch];

    /// <summary>The tiles of prompts: as many as rows of any lengths can take.</summary>
    public Span<CudaAttentionTile> HostTiles =>
        MemoryMarshal.Cast<byte, CudaAttentionTile>(_host.Span<byte>()[(Offset(3) + SamplingBytes(_batch))..])[..TileCount(_rows, _batch)];

    /// <summary>Where a device leaves the tokens that it chooses: in <see cref="Chosen"/> itself, which takes less than a copy behind the last kernel.</summary>
    public ulong ChosenAddress => (ulong)_chosen.Value;

    /// <summary>The tokens that the last step chose, once the stream is done.</summary>
    public ReadOnlySpan<uint> Chosen => _chosen.Span<uint>();

    public static long Bytes(DeviceMemoryPlan memory) => StepBytes(memory) + TableBytes(memory);

    /// <summary>Queues the copy of everything but the page table.</summary>
    public void Upload(CudaStream stream) => _device.Upload<byte>(_host.Span<byte>()[..(int)_device.Bytes], stream);

    /// <summary>Queues the copy of what a decoding step reads, in one piece: a copy costs a graph more than its bytes.</summary>
    public void UploadRows(CudaStream stream, int rows) =>
        _device.Upload<byte>(_host.Span<byte>()[..(Offset(3) + (rows * Unsafe.SizeOf<SamplingRow>()))], stream);

    /// <summary>Writes a line of the page table and queues its copy.</summary>
    public void Place(CudaStream stream, int slot, ReadOnlySpan<int> pages)
    {
        Span<uint> line = _hostTable.Span<uint>().Slice(slot * _pagesPerSequence, _pagesPerSequence);
        MemoryMarshal.Cast<int, uint>(pages).CopyTo(line);
        _deviceTable.Upload<uint>(line[..pages.Length], stream, (long)slot * _pagesPerSequence * sizeof(uint));
    }

    public void Dispose()
    {
        _device.Dispose();
        _deviceTable.Dispose();
        if (_ownsHost)
        {
            _host.Dispose();
            _hostTable.Dispose();
            _chosen.Dispose();
        }
    }

    private static int SamplingBytes(int batch) => (((batch * Unsafe.SizeOf<SamplingRow>()) + Alignment - 1) / Alignment) * Alignment;

    /// <summary>Whole tiles, and one more per sequence that does not end with one.</summary>
    private static int TileCount(int rows, int batch) => (rows / DecoderRow.TileQueries) + batch + 1;

    private static int PartBytes(int rows) => ((rows * sizeof(uint)) + Alignment - 1) / Alignment * Alignment;

    private static long StepBytes(DeviceMemoryPlan memory) =>
        (3L * PartBytes(memory.Rows)) + SamplingBytes(memory.Batch) + ((long)TileCount(memory.Rows, memory.Batch) * Unsafe.SizeOf<CudaAttentionTile>());

    private static long TableBytes(DeviceMemoryPlan memory) => (long)memory.Batch * memory.PagesPerSequence * sizeof(uint);

    private int Offset(int part) => part * PartBytes(_rows);

    private Span<uint> Words(int part) => MemoryMarshal.Cast<byte, uint>(_host.Span<byte>()[Offset(part)..])[.._rows];
}
