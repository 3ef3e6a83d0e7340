using System.Threading.Channels;
using KernelGen.Backends.Cpu;
using KernelGen.Inference.Checkpoints;

namespace KernelGen.Inference.Conversion;

/// <summary>
/// Streams the source through the quantizer into the result: one thread reads ahead, one per processor quantizes and writes, one brings
/// finished files to disk. A fixed number of blocks goes round, so memory does not depend on the model.
/// </summary>
internal sealed class ConversionPipeline
{
    /// <summary>Large enough for a disk to be at its best.</summary>
    private const int LargestBlock = 8 << 20;

    /// <summary>A page: less is no saving.</summary>
    private const int SmallestBlock = 4 << 10;

    private readonly IReadOnlyDictionary<string, SourceFile> _sources;
    private readonly string _folder;
    private readonly bool _sharesScale;
    private readonly int _workers;
    private readonly int _blockBytes;
    private readonly int _blockCount;
    private readonly ConversionJournal _journal;
    private readonly ProgressMeter _progress;

    public ConversionPipeline(
        ConversionOptions options,
        ConversionPlan plan,
        IReadOnlyDictionary<string, SourceFile> sources,
        string folder,
        ConversionJournal journal,
        ProgressMeter progress)
    {
        _sources = sources;
        _folder = folder;
        _journal = journal;
        _progress = progress;
        _sharesScale = (options.Scheme ?? ConversionOptions.DefaultScheme).WeightGranularity != QuantizationGranularity.Vector;
        _workers = CpuParallel.Degree(options.MaxDegreeOfParallelism);

        // Half again for the int8 values of a block; every worker holds one, as many wait, and one is being read.
        _blockCount = (2 * _workers) + 1;
        long budget = options.MemoryBytes * 2 / 3 / _blockCount;
        long longestRow = plan.Quantized.Select(static work => RowBytes(work)).DefaultIfEmpty().Max();
        if (longestRow > Array.MaxLength)
        {
            PlannedWork work = plan.Quantized.First(work => RowBytes(work) == longestRow);
            throw CheckpointException.For(work.Source.File, work.Source.Name, $"its rows of {longestRow} bytes are too long.", "Leave the module out with --skip.");
        }

        _blockBytes = (int)Math.Max(longestRow, Math.Clamp(budget, SmallestBlock, LargestBlock));
    }

    /// <summary>Converts files of the plan.</summary>
    /// <exception cref="CheckpointException">The source cannot be read, a weight cannot be quantized, or the result cannot be written.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled; finished files are recorded.</exception>
    public async Task RunAsync(IReadOnlyList<PlannedShard> shards, CancellationToken cancellation)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Channel<SourceBlock> free = Channel.CreateBounded<SourceBlock>(_blockCount);
        Channel<SourceBlock> read = Channel.CreateBounded<SourceBlock>(_blockCount);
        Channel<ShardOutput> written = Channel.CreateUnbounded<ShardOutput>();
        List<ShardOutput> open = [];
        for (int i = 0; i < _blockCount; i++)
        {
            free.Writer.TryWrite(new SourceBlock(_blockBytes));
        }

        Task reader = Guard(() => ReadAsync(shards, open, free.Reader, read.Writer, stop.Token), stop);
        Task[] workers = [.. Enumerable.Range(0, _workers).Select(_ => Guard(() => ConvertAsync(read.Reader, free.Writer, written.Writer, stop.Token), stop))];
        Task finisher = Guard(() => FinishAsync(written.Reader, stop.Token), stop);
        try
        {
            await Task.WhenAll([reader, .. workers]).ConfigureAwait(false);
            written.Writer.Complete();
            await finisher.ConfigureAwait(false);
        }
        catch
        {
            written.Writer.TryComplete();
            Task[] all = [reader, .. workers, finisher];
            await Task.WhenAll(all).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

            // The first fault stopped the others, which ended as cancelled: it is the one to report.
            Task? faulted = Array.Find(all, static task => task.IsFaulted);
            await (faulted ?? reader).ConfigureAwait(false);
            throw;
        }
        finally
        {
            open.ForEach(static shard => shard.Dispose());
        }
    }

    private static long RowBytes(PlannedWork work) => work.Source.ByteLength / work.Layer!.OutputFeatures;

    private static Task Guard(Func<Task> part, CancellationTokenSource stop) => Task.Run(async () =>
    {
        try
        {
            await part().ConfigureAwait(false);
        }
        catch
        {
            await stop.CancelAsync().ConfigureAwait(false);
            throw;
        }
    });

    private async Task ReadAsync(
        IReadOnlyList<PlannedShard> shards, List<ShardOutput> open, ChannelReader<SourceBlock> free, ChannelWriter<SourceBlock> read, CancellationToken cancellation)
    {
        foreach (PlannedShard shard in shards)
        {
            ShardOutput output = new(shard, _folder);
            open.Add(output);
            foreach (PlannedWork work in shard.Work)
            {
                (long step, int blocks) = Split(work);
                float tensorAbsmax = float.NaN;
                if (work.Layer is not null && _sharesScale)
                {
                    // One scale for all weights must be known before the first is quantized: the tensor is read twice.
                    SourceBlock scratch = await free.ReadAsync(cancellation).ConfigureAwait(false);
                    tensorAbsmax = 0;
                    for (int i = 0; i < blocks; i++)
                    {
                        cancellation.ThrowIfCancellationRequested();
                        Fill(scratch, work, i * step, step);
                        tensorAbsmax = Math.Max(tensorAbsmax, TensorConversion.LargestMagnitude(work, scratch));
                    }

                    await read.WriteAsync(Emptied(scratch), cancellation).ConfigureAwait(false);
                }

                TensorConversion tensor = new(work, output, blocks, tensorAbsmax);
                for (int i = 0; i < blocks; i++)
                {
                    SourceBlock block = await free.ReadAsync(cancellation).ConfigureAwait(false);
                    cancellation.ThrowIfCancellationRequested();
                    Fill(block, work, i * step, step);
                    block.Tensor = tensor;
                    await read.WriteAsync(block, cancellation).ConfigureAwait(false);
                }
            }
        }

        read.Complete();
    }

    private async Task ConvertAsync(
        ChannelReader<SourceBlock> read, ChannelWriter<SourceBlock> free, ChannelWriter<ShardOutput> written, CancellationToken cancellation)
    {
        await foreach (SourceBlock block in read.ReadAllAsync(cancellation).ConfigureAwait(false))
        {
            if (block.Tensor is { } tensor)
            {
                bool isLast = tensor.Convert(block);
                _progress.Add(block.Length, tensor.Name);
                if (isLast && tensor.Shard.EndWork())
                {
                    written.TryWrite(tensor.Shard);
                }
            }

            free.TryWrite(Emptied(block));
        }
    }

    private async Task FinishAsync(ChannelReader<ShardOutput> written, CancellationToken cancellation)
    {
        await foreach (ShardOutput shard in written.ReadAllAsync(cancellation).ConfigureAwait(false))
        {
            // What waits already is handed out without a look at the token.
            cancellation.ThrowIfCancellationRequested();
            _progress.Describe($"bringing {shard.Shard.Name} to disk");
            _journal.Add(shard.Finish());
        }
    }

    private static SourceBlock Emptied(SourceBlock block)
    {
        block.Tensor = null;
        return block;
    }

    /// <summary>The rows of a block, or the bytes of what is copied; and the number of blocks, at least one.</summary>
    private (long Step, int Blocks) Split(PlannedWork work)
    {
        long step = work.Layer is null ? _blockBytes : Math.Max(1, _blockBytes / RowBytes(work));
        long length = work.Layer?.OutputFeatures ?? work.Source.ByteLength;
        return (step, (int)Math.Max(1, (length + step - 1) / step));
    }

    private void Fill(SourceBlock block, PlannedWork work, long first, long step)
    {
        SourceFile file = _sources[work.Source.File];
        block.First = first;
        if (work.Layer is not { } layer)
        {
            block.Count = 0;
            block.Length = (int)Math.Min(step, work.Source.ByteLength - first);
            file.Read(block.Bytes, work.Source.Offset + first);
            return;
        }

        block.Count = (int)Math.Min(step, layer.OutputFeatures - first);
        block.Length = (int)(block.Count * RowBytes(work));
        if (!layer.IsTransposed)
        {
            file.Read(block.Bytes, work.Source.Offset + (first * RowBytes(work)));
            return;
        }

        // Stored by columns: a block is a part of each.
        int part = block.Length / layer.InputFeatures;
        int elementBytes = part / block.Count;
        if (block.Count == layer.OutputFeatures)
        {
            file.Read(block.Bytes, work.Source.Offset);
            return;
        }

        for (int k = 0; k < layer.InputFeatures; k++)
        {
            file.Read(block.Bytes.Slice(k * part, part), work.Source.Offset + (((long)k * layer.OutputFeatures) + first) * elementBytes);
        }
    }
}
