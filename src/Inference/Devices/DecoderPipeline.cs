using KernelGen.Backends.Cuda;

namespace KernelGen.Inference.Devices;

/// <summary>
/// A model's devices one behind the other: a pass begins at home, goes through every device's layers, and ends at home. Where there is one device, that is
/// one graph. Between devices the residual stream alone travels.
/// </summary>
internal sealed class DecoderPipeline : IDisposable
{
    private readonly IReadOnlyList<CudaStage> _stages;
    private readonly HostLayers? _host;
    private readonly List<ResidualHop> _hops = [];
    private readonly PinnedBuffer? _hostResidual;
    private readonly int _hidden;

    /// <param name="stages">The GPUs' parts, home first.</param>
    /// <param name="host">The processor's, behind them; or null.</param>
    /// <param name="hidden">Width of the residual stream.</param>
    /// <param name="staged">Whether to copy by way of the host even where devices reach each other.</param>
    public DecoderPipeline(IReadOnlyList<CudaStage> stages, HostLayers? host, int hidden, bool staged)
    {
        (_stages, _host, _hidden) = (stages, host, hidden);
        try
        {
            for (int i = 1; i < stages.Count; i++)
            {
                _hops.Add(new ResidualHop(stages[i - 1], stages[i], hidden, staged));
            }

            if (host is not null)
            {
                _hostResidual = new PinnedBuffer(Home.Context, (long)Home.Memory.Rows * hidden * sizeof(float));
            }
            else if (stages.Count > 1)
            {
                _hops.Add(new ResidualHop(stages[^1], Home, hidden, staged));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The device where a pass begins and ends.</summary>
    public CudaStage Home => _stages[0];

    /// <summary>Whether residual streams go from device to device without the host; null where none does so.</summary>
    public bool? IsDirect => _hops.Count == 0 ? null : _hops.All(static hop => hop.IsDirect);

    private bool IsWhole => _stages.Count == 1 && _host is null;

    /// <summary>Queues the copies of a slot's pages to every device.</summary>
    public void Place(int slot, ReadOnlySpan<int> pages)
    {
        foreach (CudaStage stage in _stages)
        {
            stage.Inputs.Place(stage.Stream, slot, pages);
        }
    }

    /// <summary>Queues a pass of prompts, whose inputs are in home's pinned memory; the final hidden states are at home then.</summary>
    public void RunPrompt(DecoderRows rows)
    {
        foreach (CudaStage stage in _stages)
        {
            Enter(stage);
            stage.Inputs.Upload(stage.Stream);
            stage.Decoder.Queue(rows);
        }

        if (!IsWhole)
        {
            Return(rows);
            Home.Decoder.QueueEnd(rows);
        }

        void Enter(CudaStage stage) => MoveTo(stage, rows);
    }

    /// <summary>Queues a decoding step.</summary>
    /// <param name="rows">Its bucket.</param>
    /// <param name="choose">Queues what follows the final hidden states at home.</param>
    public void RunStep(DecoderRows rows, Action choose)
    {
        foreach (CudaStage stage in _stages)
        {
            MoveTo(stage, rows);
            stage.Replay(isEnd: false, rows, () =>
            {
                stage.Inputs.UploadRows(stage.Stream, rows.Rows);
                stage.Decoder.Queue(rows);
                if (IsWhole)
                {
                    choose();
                }
            });
        }

        if (!IsWhole)
        {
            Return(rows);
            Home.Replay(isEnd: true, rows, () =>
            {
                Home.Decoder.QueueEnd(rows);
                choose();
            });
        }
    }

    public void Dispose()
    {
        foreach (ResidualHop hop in _hops)
        {
            hop.Dispose();
        }

        _hostResidual?.Dispose();
    }

    private void MoveTo(CudaStage stage, DecoderRows rows)
    {
        if (stage != Home)
        {
            _hops.Single(hop => hop.To == stage).Move(rows.Rows);
        }
    }

    /// <summary>From the last device to home, by way of the processor's layers where there are any.</summary>
    private void Return(DecoderRows rows)
    {
        if (_host is null)
        {
            _hops[^1].Move(rows.Rows);
            return;
        }

        CudaStage last = _stages[^1];
        long bytes = (long)rows.Rows * _hidden * sizeof(float);
        _hostResidual!.CopyFrom(last.Decoder.Residual.Address, bytes, last.Stream);
        last.Stream.Synchronize();
        _host.Run(_hostResidual.Span<float>()[..(rows.Rows * _hidden)], Home.Inputs.HostPositions[..rows.Rows], Home.Inputs.HostSequences[..rows.Rows]);
        _hostResidual.CopyTo(Home.Decoder.Residual.Address, bytes, Home.Stream);
    }
}
