using System.Globalization;

namespace KernelGen.Cli.Output;

/// <summary>Numbers as people read them, the same in every culture.</summary>
internal static class Numbers
{
    private const double KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;

    /// <summary>A size with four digits.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        < (long)KiB => Invariant($"{bytes} B"),
        < (long)MiB => Invariant($"{bytes / KiB:0.0} KiB"),
        < (long)GiB => Invariant($"{bytes / MiB:0.00} MiB"),
        _ => Invariant($"{bytes / GiB:0.00} GiB"),
    };

    /// <summary>A perplexity.</summary>
    public static string Perplexity(double value) => Invariant($"{value:0.0000}");

    /// <summary>A change against a reference, in percent, with its sign.</summary>
    public static string Change(double value, double reference) => Invariant($"{(value / reference - 1) * 100:+0.00;-0.00;0.00} %");

    /// <summary>How far a value is from a reference, in percent, whichever way.</summary>
    public static string Distance(double value, double reference) => Invariant($"{Math.Abs(value / reference - 1) * 100:0.00} %");

    /// <summary>A ratio.</summary>
    public static string Ratio(double value) => Invariant($"{value:0.00}");

    /// <summary>A duration.</summary>
    public static string Seconds(double value) => Invariant($"{value:0.00} s");

    /// <summary>A count, with its thousands apart.</summary>
    public static string Count(long value) => Invariant($"{value:#,0}");

    /// <summary>Formats in the invariant culture.</summary>
    public static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
