using System.Globalization;
using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Devices;

/// <summary>A device that takes a part of a model's layers, as planning sees it.</summary>
/// <param name="Name">For messages.</param>
/// <param name="FreeBytes">Bytes that are free.</param>
internal readonly record struct PlacementDevice(string Name, long FreeBytes);

/// <summary>
/// Which layers go where, known before anything is loaded. GPUs take neighbouring layers in their order, each the same share of its memory as far as whole
/// layers allow; the processor, where it helps out, takes the last ones, and only those that fit no GPU with a cache for one text. The first GPU is home:
/// it embeds tokens, has the output head and chooses.
/// </summary>
internal sealed class PlacementPlan
{
    private PlacementPlan(IReadOnlyList<DeviceMemoryPlan> devices, LayerRange processor, long processorBytes) =>
        (Devices, Processor, ProcessorBytes) = (devices, processor, processorBytes);

    /// <summary>What every GPU takes, in the order of the devices given; one may have no layers.</summary>
    public IReadOnlyList<DeviceMemoryPlan> Devices { get; }

    /// <summary>The processor's layers; none where everything fits.</summary>
    public LayerRange Processor { get; }

    /// <summary>Bytes of host memory that they take, with keys and values in float32.</summary>
    public long ProcessorBytes { get; }

    /// <summary>Plans.</summary>
    /// <param name="plan">The model.</param>
    /// <param name="scheme">How matrices are held on GPUs.</param>
    /// <param name="options">What is to be done at once.</param>
    /// <param name="storedBytes">Bytes of a weight as the checkpoint stores a layer.</param>
    /// <param name="gpus">The GPUs, home first.</param>
    /// <param name="processor">The processor, if it is to take what does not fit.</param>
    /// <exception cref="DeviceMemoryException">It does not fit; the message says what each device has and what is missing.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    public static PlacementPlan Create(
        DecoderPlan plan,
        DeviceScheme scheme,
        DeviceOptions options,
        Func<LinearDescription, int> storedBytes,
        IReadOnlyList<PlacementDevice> gpus,
        PlacementDevice? processor = null)
    {
        if (gpus.Count == 1 && processor is null)
        {
            return new PlacementPlan([DeviceMemoryPlan.Create(plan, scheme, options, storedBytes, gpus[0].Name, gpus[0].FreeBytes)], default, 0);
        }

        DeviceMemoryPlan[] parts = [.. gpus.Select((_, i) => DeviceMemoryPlan.Of(plan, scheme, options, storedBytes, new LayerRange(0, 0), isHome: i == 0))];
        long[] layers = [.. plan.Layers.Select((_, i) => LayerBytes(plan, scheme, storedBytes, i))];
        Filling filling = new(layers, parts[0].LayerPageBytes, parts[0].SharedPageBytes, [.. parts.Select(static part => part.TotalBytes)], [.. gpus.Select(static gpu => gpu.FreeBytes)]);
        (long least, long wanted) = parts[0].PageBounds(options);
        int[] counts = filling.Fill(least, 1);
        long pages = least;
        int placed = counts.Sum();
        if (placed == layers.Length)
        {
            pages = MostPages(filling, least, wanted, layers.Length);
            counts = filling.Balance(pages);
        }
        else if (processor is null || gpus[0].FreeBytes < parts[0].TotalBytes)
        {
            throw Missing(parts, layers, counts, least, gpus);
        }

        long offloaded = layers.Skip(placed).Sum() + HostCacheBytes(plan, parts[0], layers.Length - placed);
        if (processor is { } host && offloaded > host.FreeBytes)
        {
            throw new DeviceMemoryException(
                host.Name, offloaded, host.FreeBytes, [($"{layers.Length - placed} of {layers.Length} layers", layers.Skip(placed).Sum()), ("keys and values", offloaded - layers.Skip(placed).Sum())]);
        }

        return new PlacementPlan(
            Divide(counts, (range, i) =>
            {
                DeviceMemoryPlan memory = DeviceMemoryPlan.Of(plan, scheme, options, storedBytes, range, isHome: i == 0);
                memory.UsePages(checked((int)pages));
                return memory;
            }),
            new LayerRange(placed, layers.Length - placed),
            offloaded);
    }

    private static List<DeviceMemoryPlan> Divide(int[] counts, Func<LayerRange, int, DeviceMemoryPlan> create)
    {
        List<DeviceMemoryPlan> devices = [];
        int first = 0;
        foreach (int count in counts)
        {
            devices.Add(create(new LayerRange(first, count), devices.Count));
            first += count;
        }

        return devices;
    }

    private static long LayerBytes(DecoderPlan plan, DeviceScheme scheme, Func<LinearDescription, int> storedBytes, int layer)
    {
        LayerRange range = new(layer, 1);
        return plan.MatricesOf(range, isHome: false).Sum(matrix => scheme.BytesOf(matrix, storedBytes))
            + plan.NormsOf(range, isHome: false).Sum(static norm => (long)norm.Size * sizeof(float) * ((norm.IsAffine ? 1 : 0) + (norm.HasBias ? 1 : 0)));
    }

    /// <summary>The processor's caches hold float32, for every text the whole context.</summary>
    private static long HostCacheBytes(DecoderPlan plan, DeviceMemoryPlan memory, int layers) =>
        2L * sizeof(float) * layers * memory.Batch * memory.Context * plan.Description.KeyValueHeads * plan.Description.HeadSize;

    private static long MostPages(Filling filling, long least, long wanted, int layers)
    {
        long low = least, high = Math.Max(least, wanted);
        while (low < high)
        {
            long middle = low + ((high - low + 1) / 2);
            (low, high) = filling.Fill(middle, 1).Sum() == layers ? (middle, high) : (low, middle - 1);
        }

        return low;
    }

    private static DeviceMemoryException Missing(DeviceMemoryPlan[] parts, long[] layers, int[] counts, long pages, IReadOnlyList<PlacementDevice> gpus)
    {
        int placed = counts.Sum();
        long free = gpus.Sum(static gpu => gpu.FreeBytes), required = parts.Sum(static part => part.TotalBytes) + layers.Sum() + (pages * ((layers.Length * parts[0].LayerPageBytes) + (parts.Length * parts[0].SharedPageBytes)));
        string perDevice = string.Join(", ", gpus.Select((gpu, i) => string.Create(
            CultureInfo.InvariantCulture, $"{gpu.Name} with {gpu.FreeBytes} free takes {counts[i]} beside {parts[i].TotalBytes} for buffers and, at home, embeddings")));
        return new DeviceMemoryException(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{layers.Length - placed} of the model's {layers.Length} layers fit no device: {perDevice}; a layer needs up to {layers.Max() + (pages * parts[0].LayerPageBytes)} bytes with its keys and values. Use a shorter context, a smaller batch, a scheme with less memory, more devices, or let the processor compute what is left (--device cuda:0,cpu)."),
            required,
            free);
    }

    /// <summary>Puts layers onto devices in their order, as many onto each as a share of its memory holds.</summary>
    private sealed class Filling(long[] layers, long layerPageBytes, long sharedPageBytes, long[] fixedBytes, long[] freeBytes)
    {
        /// <summary>How many layers each device takes.</summary>
        public int[] Fill(long pages, double share)
        {
            int[] counts = new int[freeBytes.Length];
            int next = 0;
            for (int device = 0; device < counts.Length; device++)
            {
                double room = (share * freeBytes[device]) - fixedBytes[device] - (pages * sharedPageBytes);
                while (next < layers.Length && room >= layers[next] + (pages * layerPageBytes))
                {
                    room -= layers[next++] + (pages * layerPageBytes);
                    counts[device]++;
                }
            }

            return counts;
        }

        /// <summary>The filling by the smallest share that places every layer.</summary>
        public int[] Balance(long pages)
        {
            double low = 0, high = 1;
            for (int i = 0; i < 40; i++)
            {
                double middle = (low + high) / 2;
                (low, high) = Fill(pages, middle).Sum() == layers.Length ? (low, middle) : (middle, high);
            }

            return Fill(pages, high);
        }
    }
}
