using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace KernelGen.Cli.Html;

/// <summary>
/// A report as one page that needs nothing else: the data as JSON, the scripts that draw it, the charting library and its notices. Its
/// content security policy lets it load nothing and run these scripts alone, whatever the data holds.
/// </summary>
internal static class HtmlReport
{
    /// <summary>The script that draws an outlier analysis.</summary>
    public const string Outliers = "outliers.js";

    /// <summary>The script that draws tuning records.</summary>
    public const string Tuning = "tuning.js";

    /// <summary>Escapes everything that could end the element which holds the data, as JSON allows.</summary>
    private static readonly JsonWriterOptions _json = new() { Encoder = JavaScriptEncoder.Default };

    /// <summary>In a page, the beginning of the element that says what wrote it is before this many bytes.</summary>
    private const int HeadBytes = 4096;

    /// <summary>Whether a file is a page that was composed here with a view, by any version.</summary>
    public static bool IsPage(string path, string view)
    {
        try
        {
            // The length comes first: a pipe has none, and opening it would wait for a writer. A link was not made here.
            if (new FileInfo(path) is not { LinkTarget: null, Length: > 0 })
            {
                return false;
            }

            byte[] head = new byte[HeadBytes];
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
            string text = Encoding.UTF8.GetString(head, 0, stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false));
            return text.StartsWith("<!DOCTYPE html>", StringComparison.Ordinal)
                && text.Contains($"<meta name=\"generator\" content=\"kernelgen {Kind(view)} ", StringComparison.Ordinal);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>A page's text.</summary>
    /// <param name="title">What the page is about.</param>
    /// <param name="view">The script that draws the data, such as <see cref="Outliers"/>.</param>
    /// <param name="writeProperties">Writes the properties of the JSON object that is the data.</param>
    public static string Compose(string title, string view, Action<Utf8JsonWriter> writeProperties)
    {
        string[] scripts = [.. ((string[])["echarts/echarts.min.js", "page.js", view]).Select(Asset)];
        return Fill(Asset("page.html"), name => name switch
        {
            "script-hashes" => string.Join(' ', scripts.Select(static script => $"'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(script)))}'")),
            "scripts" => string.Join('\n', scripts.Select(static script => $"<script>{script}</script>")),
            "style" => Asset("page.css"),
            "title" => HtmlEncoder.Default.Encode(title),
            "kind" => Kind(view),
            "version" => HtmlEncoder.Default.Encode(Version),
            "notices" => HtmlEncoder.Default.Encode(string.Join("\n\n", ((string[])["NOTICE", "LICENSE-zrender", "LICENSE-d3"]).Select(static name => Asset("echarts/" + name).Trim()))),
            "data" => Data(writeProperties),
            _ => throw new InvalidOperationException($"page.html has no such place as '{name}'."),
        });
    }

    private static string Kind(string view) => Path.GetFileNameWithoutExtension(view);

    private static string Version { get; } = typeof(HtmlReport).Assembly.GetName().Version!.ToString(3);

    private static string Data(Action<Utf8JsonWriter> writeProperties)
    {
        using MemoryStream bytes = new();
        using (Utf8JsonWriter writer = new(bytes, _json))
        {
            writer.WriteStartObject();
            writeProperties(writer);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
    }

    /// <summary>Replaces every <c>{{name}}</c> of a template, once: what replaces it is not searched.</summary>
    private static string Fill(string template, Func<string, string> valueOf)
    {
        StringBuilder page = new();
        for (int from = 0; ;)
        {
            int open = template.IndexOf("{{", from, StringComparison.Ordinal);
            if (open < 0)
            {
                return page.Append(template, from, template.Length - from).ToString();
            }

            int close = template.IndexOf("}}", open, StringComparison.Ordinal);
            page.Append(template, from, open - from).Append(valueOf(template[(open + 2)..close]));
            from = close + 2;
        }
    }

    private static string Asset(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name) ?? throw new InvalidOperationException($"There is no embedded file '{name}'.");
        using StreamReader reader = new(stream, Encoding.UTF8);

        // Browsers compute the hash of a script after they have turned every line end into a line feed.
        return reader.ReadToEnd().Replace("\r\n", "\n", StringComparison.Ordinal);
    }
}
