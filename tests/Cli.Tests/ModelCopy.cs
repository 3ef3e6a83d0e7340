using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace KernelGen.Cli.Tests;

/// <summary>A copy of the bundled model to damage, deleted in the end.</summary>
internal sealed class ModelCopy : IDisposable
{
    public ModelCopy()
    {
        foreach (string name in new[] { "config.json", "model.safetensors", "tokenizer.json" })
        {
            File.Copy(Path.Combine(ToolRun.Model, name), At(name));
        }
    }

    public string Folder { get; } = Directory.CreateTempSubdirectory("kernelgen-cli-").FullName;

    public string At(string name) => Path.Combine(Folder, name);

    public string Write(string name, string text)
    {
        File.WriteAllText(At(name), text);
        return At(name);
    }

    public string Write(string name, byte[] bytes)
    {
        File.WriteAllBytes(At(name), bytes);
        return At(name);
    }

    /// <summary>Makes a float16 tensor's first value NaN.</summary>
    public void Poison(string tensor)
    {
        byte[] file = File.ReadAllBytes(At("model.safetensors"));
        int headerLength = (int)BinaryPrimitives.ReadInt64LittleEndian(file);
        JsonElement header = JsonElement.Parse(file.AsSpan(8, headerLength));
        int offset = header.GetProperty(tensor).GetProperty("data_offsets")[0].GetInt32();
        MemoryMarshal.Write(file.AsSpan(8 + headerLength + offset), Half.NaN);
        Write("model.safetensors", file);
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
