using System.Text.Json;
using KernelGen.Messages;

namespace KernelGen.Inference.Checkpoints;

/// <summary>Reads <c>model.safetensors.index.json</c>: which shard holds which tensor.</summary>
internal static class ShardIndex
{
    private const string Remedy = "The index is damaged: download or save the checkpoint again.";

    /// <summary>Reads the map from a tensor's name to its shard's file name. The file names are as the index has them, not yet checked.</summary>
    /// <exception cref="CheckpointException">The index is not valid.</exception>
    public static Dictionary<string, string> Read(string path)
    {
        byte[] json = SmallFile.ReadAll(path, SafetensorsHeader.MaxBytes);
        try
        {
            return Parse(json, path);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw CheckpointException.For(path, $"the index is not valid JSON ({JsonText.Describe(exception)}).", Remedy, exception);
        }
    }

    private static Dictionary<string, string> Parse(byte[] json, string path)
    {
        Dictionary<string, string>? shards = null;
        Utf8JsonReader reader = new(json);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            throw CheckpointException.For(path, "the index is not a JSON object.", Remedy);
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isMap = reader.ValueTextEquals("weight_map"u8);
            reader.Read();
            if (!isMap)
            {
                reader.Skip();
            }
            else if (shards is not null)
            {
                throw CheckpointException.For(path, "'weight_map' is given twice.", Remedy);
            }
            else
            {
                shards = ReadMap(ref reader, path);
            }
        }

        reader.Read();
        return shards ?? throw CheckpointException.For(path, "'weight_map' is missing.", Remedy);
    }

    private static Dictionary<string, string> ReadMap(ref Utf8JsonReader reader, string path)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw CheckpointException.For(path, $"'weight_map' is a JSON {reader.TokenType}, an object was expected.", Remedy);
        }

        Dictionary<string, string> shards = new(StringComparer.Ordinal);
        // Thousands of tensors share a shard: one string each is enough.
        Dictionary<string, string> names = new(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string tensor = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
            {
                throw CheckpointException.For(path, tensor, $"its shard is a JSON {reader.TokenType}, a file name was expected.", Remedy);
            }

            string shard = reader.GetString()!;
            if (!names.TryGetValue(shard, out string? shared))
            {
                names.Add(shard, shared = shard);
            }

            if (shards.Count == SafetensorsHeader.MaxTensors * 5)
            {
                throw CheckpointException.For(path, $"the index lists more than {shards.Count} tensors.", Remedy);
            }

            if (!shards.TryAdd(tensor, shared))
            {
                throw CheckpointException.For(path, tensor, "the index lists it twice.", Remedy);
            }
        }

        return shards;
    }
}
