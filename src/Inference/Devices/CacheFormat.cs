namespace KernelGen.Inference.Devices;

/// <summary>How a key-value cache holds its numbers on a GPU.</summary>
public enum CacheFormat
{
    /// <summary>In 16 bits.</summary>
    Float16,

    /// <summary>
    /// In int8, with a step per position and head. Beside it one layer's cache in 16 bits is kept, where new keys and values, and those of prompts, are computed.
    /// </summary>
    Int8,
}
