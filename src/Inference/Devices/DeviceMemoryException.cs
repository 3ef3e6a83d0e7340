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
            $"{device} lacks {required - free} bytes: the model needs {required} ({string.Join(", ", parts.Select(part => string.Create(CultureInfo.InvariantCulture, $"{part.Part} {part.Bytes}")))}), {free} are free. Use a shorter context, a smaller batch, a scheme with less memory, or a device with more."))
    {
        RequiredBytes = required;
        FreeBytes = free;
    }

    /// <summary>Bytes that the model needs, with a key-value cache for one text.</summary>
    public long RequiredBytes { get; }

    /// <summary>Bytes of the device that were free.</summary>
    public long FreeBytes { get; }

    /// <summary>Bytes that are missing.</summary>
    public long MissingBytes => RequiredBytes - FreeBytes;
}
