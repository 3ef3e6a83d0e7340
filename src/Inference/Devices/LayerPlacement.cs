namespace KernelGen.Inference.Devices;

/// <summary>Which layers of a model are where.</summary>
/// <param name="Device">The device as <c>--device</c> takes it: <c>cuda:0</c>, or <c>cpu</c> for the processor.</param>
/// <param name="FirstLayer">The first of its layers.</param>
/// <param name="Layers">How many it has.</param>
/// <param name="ParameterBytes">Bytes that its parameters take, on the first device with embeddings and output head.</param>
public readonly record struct LayerPlacement(string Device, int FirstLayer, int Layers, long ParameterBytes);
