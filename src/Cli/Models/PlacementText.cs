using KernelGen.Cli.Output;
using KernelGen.Inference.Devices;

namespace KernelGen.Cli.Models;

/// <summary>Says which layers of a model are where.</summary>
internal static class PlacementText
{
    /// <summary>A sentence; null where one device has all layers.</summary>
    public static string? Of(IReadOnlyList<LayerPlacement> placement) => placement.Count < 2 ? null : "layers: " + string.Join(", ", placement.Select(static part =>
        part.Layers == 0
            ? $"none on {part.Device}"
            : Numbers.Invariant($"{part.FirstLayer} to {part.FirstLayer + part.Layers - 1} on {part.Device} ({Numbers.Bytes(part.ParameterBytes)})")));
}
