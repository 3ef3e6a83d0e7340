using System.Globalization;

namespace KernelGen.ConversionBench;

/// <summary>A command and its <c>--name value</c> pairs.</summary>
internal sealed class Arguments
{
    private readonly Dictionary<string, string> _values = [];

    public Arguments(string[] args)
    {
        Command = args.Length == 0 ? "" : args[0];
        for (int i = 1; i < args.Length; i += 2)
        {
            if (!args[i].StartsWith("--", StringComparison.Ordinal) || i + 1 == args.Length)
            {
                throw new ArgumentException($"'{args[i]}' is no --name with a value.");
            }

            _values.Add(args[i][2..], args[i + 1]);
        }
    }

    public string Command { get; }

    public string Text(string name) => _values.TryGetValue(name, out string? value) ? value : throw new ArgumentException($"--{name} is missing.");

    public long Number(string name, long defaultValue) =>
        !_values.TryGetValue(name, out string? value) ? defaultValue
        : long.TryParse(value, CultureInfo.InvariantCulture, out long number) && number >= 0 ? number
        : throw new ArgumentException($"--{name}: '{value}' is not a whole number.");
}
