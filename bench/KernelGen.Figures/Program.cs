using System.Text.Json;

namespace KernelGen.Figures;

/// <summary>Reads what <c>kernelgen outliers --json</c> or <c>kernelgen eval --json</c> printed and writes an SVG file.</summary>
internal static class Program
{
    private const string Usage = "figures columns|thresholds OUTLIERS.json OUT.svg, or figures schemes EVAL.jsonl OUT.svg";

    private static int Main(string[] args)
    {
        try
        {
            string svg = args switch
            {
                ["columns", var file, _] => ColumnsFigure.Draw(ReadObject(file)),
                ["thresholds", var file, _] => ThresholdsFigure.Draw(ReadObject(file)),
                ["schemes", var file, _] => SchemesFigure.Draw(SchemesFigure.Read(File.ReadLines(file))),
                _ => throw new ArgumentException($"Give {Usage}."),
            };
            File.WriteAllText(args[2], svg);
            Console.WriteLine($"{args[2]} is drawn.");
            return 0;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException or ArgumentException or KeyNotFoundException)
        {
            Console.Error.WriteLine($"figures: {exception.Message}");
            return 2;
        }
    }

    private static JsonElement ReadObject(string file) => JsonElement.Parse(File.ReadAllText(file));
}
