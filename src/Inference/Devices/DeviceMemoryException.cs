using System.Globalization;

namespace KernelGen.Inference.Devices;

/// <summary>A model does not fit a device's memory. Found out before anything is loaded.</summary>
public sealed class DeviceMemoryException : Exception
{
    /// <summary>Says what is missing.</summary>
    /// <param name="device">The device.</param>
    /// <param name="required">Bytes that the model needs.</param>
    /// <param name="free">Bytes that are free.</param>
    /// <param name="parts">What needs how many bytes.</param>
    internal DeviceMemoryException(string device, long required, long free, IEnumerable<(string Part, long Bytes)> parts)
        : base(string.Create(
            CultureInfo.InvariantCulture,
            $"{device} lacks {required - free} bytes: the model needs {required} ({string.Join(", ", parts.Select(part => string.Create(CultureInfo.InvariantCulture, $"{part.Part} {part.Bytes}")))}), {free} are free. Use a shorter context, a smaller batch, a scheme with less memory, a device with more, several devices (--device cuda:0,cuda:1), or let the processor compute the layers that do not fit (--device cuda:0,cpu)."))
    {
        RequiredBytes = required;
        FreeBytes = free;
    }

    /// <summary>Says what is missing where a model is shared by several devices.</summary>
    /// <param name="message">What each device has, and what fits none.</param>
    /// <param name="required">Bytes that the model needs.</param>
    /// <param name="free">Bytes that are free on all devices together.</param>
    internal DeviceMemoryException(string message, long required, long free)
        : base(message)
    {
        RequiredBytes = required;
        FreeBytes = free;
    }

    /// <summary>Bytes that the model needs, with a key-value cache for one text.</summary>
    public long RequiredBytes { get; }

    /// <summary>Bytes that were free.</summary>
    public long FreeBytes { get; }

    /// <summary>Bytes that are missing; among several devices perhaps none, where whole layers leave gaps.</summary>
    public long MissingBytes => Math.Max(0, RequiredBytes - FreeBytes);
}
