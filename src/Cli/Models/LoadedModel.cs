using KernelGen.Cli.Errors;
using KernelGen.Cli.Options;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Transformers;
using KernelGen.Messages;

namespace KernelGen.Cli.Models;

/// <summary>A model whose linear layers were made by a scheme, with what these layers take in memory and took in the checkpoint.</summary>
internal sealed class LoadedModel : IDisposable
{
    private readonly List<LinearLayer> _linear;
    private readonly CudaAccelerator? _accelerator;

    private LoadedModel(TransformerModel model, CudaAccelerator? accelerator, List<LinearLayer> linear, long linearCheckpointBytes, long linearParameters)
    {
        Model = model;
        _linear = linear;
        _accelerator = accelerator;
        LinearCheckpointBytes = linearCheckpointBytes;
        LinearParameters = linearParameters;
    }

    public TransformerModel Model { get; }

    /// <summary>Bytes of the linear layers' weight matrices in the checkpoint.</summary>
    public long LinearCheckpointBytes { get; }

    /// <summary>Number of values in them.</summary>
    public long LinearParameters { get; }

    /// <summary>Bytes of the linear layers as the scheme holds them, biases and scales included.</summary>
    public long LinearBytes => _linear.Sum(static layer => layer.Bytes);

    /// <summary>Loads a checkpoint and converts it.</summary>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <param name="scheme">How to hold and multiply the linear layers.</param>
    /// <param name="threshold">The outlier threshold; null for the scheme's own.</param>
    /// <param name="threads">Most threads; null for one per processor.</param>
    /// <param name="device">The GPU that multiplies the linear layers; null for the processor.</param>
    /// <param name="progress">Receives the share that is done.</param>
    /// <param name="cancellation">Ends it between two layers.</param>
    /// <param name="fixedOutliers">Calibrated outlier columns for the scheme that takes them; null for those stored in the checkpoint.</param>
    public static LoadedModel Load(
        string folder,
        QuantizationScheme scheme,
        float? threshold,
        int? threads,
        CudaDevice? device,
        IProgress<double> progress,
        CancellationToken cancellation,
        FixedOutlierSet? fixedOutliers = null)
    {
        List<LinearLayer> linear = [];
        HashSet<string> strangers = [.. fixedOutliers?.Layers ?? []];
        long bytes = 0, parameters = 0;
        CudaAccelerator? accelerator = null;
        LoadedModel loaded;
        try
        {
            LinearLayerFactory make;
            if (device is null)
            {
                make = scheme.CreateFactory(threshold, threads ?? -1, fixedOutliers);
            }
            else
            {
                DeviceOption.Check(scheme);
                accelerator = new CudaAccelerator(device);
                make = scheme.CreateFactory(accelerator, threshold);
            }

            TransformerModel model = TransformerModel.Load(
                folder,
                source =>
                {
                    cancellation.ThrowIfCancellationRequested();
                    LinearLayer layer = make(source);
                    linear.Add(layer);
                    strangers.Remove(source.Name);
                    bytes += source.Weight.Info.ByteLength;
                    parameters += source.Weight.Info.ElementCount;
                    return layer;
                },
                threads ?? -1,
                progress);
            loaded = new LoadedModel(model, accelerator, linear, bytes, parameters);
        }
        catch
        {
            linear.ForEach(static layer => layer.Dispose());
            accelerator?.Dispose();
            throw;
        }

        if (strangers.Count > 0)
        {
            loaded.Dispose();
            throw new BadInputException(
                $"--fixed-outliers: '{fixedOutliers!.Name}' names '{MessageText.Shorten(strangers.First())}', which is no linear layer of '{folder}'. Calibrate with this checkpoint.");
        }

        return loaded;
    }

    public void Dispose()
    {
        Model.Dispose();
        _accelerator?.Dispose();
    }
}
