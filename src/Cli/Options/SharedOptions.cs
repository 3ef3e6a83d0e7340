using System.CommandLine;

namespace KernelGen.Cli.Options;

/// <summary>The options that mean the same in several commands.</summary>
internal static class SharedOptions
{
    public static Option<string?> Model() => OptionFactory.Text(
        "--model", "DIR", "A checkpoint's folder in Hugging Face layout: config.json, safetensors, tokenizer.json.", required: true);

    public static Option<float?> Threshold() => OptionFactory.Number(
        "--threshold",
        "T",
        "The magnitude from which an activation is an outlier, for schemes that have outliers; 6 unless given, as in the paper.",
        "a positive number",
        static value => value > 0);

    public static Option<int?> Threads() => OptionFactory.WholeNumber("--threads", "N", "Most threads; one per processor unless given.", 1);

    public static Option<int?> Windows(string description) => OptionFactory.WholeNumber("--windows", "N", description, 1);

    public static Option<bool> Json(string description) => OptionFactory.Switch("--json", description);
}
