using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace KernelGen.Messages;

/// <summary>Shows JSON from a file in messages.</summary>
internal static class JsonText
{
    /// <summary>The text of a value, shortened. Bytes that are not UTF-8, over which <see cref="JsonElement.GetRawText"/> fails, become U+FFFD.</summary>
    public static string Show(JsonElement value) =>
        MessageText.Shorten(Encoding.UTF8.GetString(JsonMarshal.GetRawUtf8Value(value)));

    /// <summary>What the JSON reader found wrong, and where. Its own message may quote the whole rest of the file, hence the shortening.</summary>
    public static string Describe(Exception exception)
    {
        string problem = MessageText.Shorten(exception.Message);
        return exception is JsonException { LineNumber: long line, BytePositionInLine: long position }
            ? $"line {line + 1}, byte {position + 1}: {problem}"
            : problem;
    }
}
