using KernelGen.Cli.Errors;
using KernelGen.Cli.Output;
using KernelGen.Inference.Benchmarks;
using Spectre.Console;

namespace KernelGen.Cli.Models;

/// <summary>Our timings beside those of other libraries, shape by shape.</summary>
internal sealed class BenchmarkComparison
{
    private readonly IReadOnlyList<ComparedLine> _peers;
    private readonly List<ComparedLine> _own = [];

    private BenchmarkComparison(IReadOnlyList<ComparedLine> peers) => _peers = peers;

    /// <summary>Reads the others' lines.</summary>
    /// <param name="file">A file of JSON lines.</param>
    /// <param name="json">Whether the output was asked for as JSON, which a comparison has not.</param>
    /// <exception cref="BadInputException">The file cannot be used.</exception>
    public static BenchmarkComparison Read(string file, bool json)
    {
        if (json)
        {
            throw new BadInputException("--against: gives a table. Leave --json out; the lines to compare are JSON already.");
        }

        IReadOnlyList<ComparedLine> peers;
        try
        {
            peers = PeerLines.Read(InputFiles.ReadText("--against", file).Split('\n'));
        }
        catch (FormatException exception)
        {
            throw new BadInputException($"--against: '{file}': {exception.Message}. Give what a benchmark program printed, one object a line.", exception);
        }

        return peers.Count > 0
            ? new BenchmarkComparison(peers)
            : throw new BadInputException($"--against: '{file}' holds no timing: no object with 'us_median'.");
    }

    /// <summary>Adds one of our timings.</summary>
    public void Add(ComparedLine line) => _own.Add(line);

    /// <summary>Shows every shape with all that was timed for it, the fastest first.</summary>
    public void Show(CommandContext context)
    {
        Table table = Report.CreateTable(context, "MxKxN", "where", "what", ">us", ">GMAC/s", ">times ours");
        int alone = 0;
        foreach (IGrouping<(BenchmarkShape Shape, string Where, BenchmarkKind Kind), ComparedLine> group in _own.GroupBy(static line => (line.Shape, line.Where, line.Kind)))
        {
            // Of repeated runs of the same program the fastest counts: whatever disturbs makes slower.
            ComparedLine[] peers =
            [
                .. _peers.Where(peer => (peer.Shape, peer.Where) == (group.Key.Shape, group.Key.Where) && IsComparable(peer.Kind, group.Key.Kind))
                    .GroupBy(static peer => peer.Who).Select(static runs => runs.MinBy(static run => run.Median)!),
            ];
            alone += peers.Length == 0 ? 1 : 0;
            double ours = group.Min(static line => line.Median);
            foreach (ComparedLine line in group.Concat(peers).OrderBy(static line => line.Median))
            {
                table.AddCells(
                    null,
                    line.Shape.ToString(),
                    line.Where,
                    line.Who,
                    Numbers.Invariant($"{line.Median:0.0}"),
                    Numbers.Invariant($"{line.GigaMacs:0.0}"),
                    group.Contains(line) ? "" : Numbers.Ratio(line.Median / ours));
            }
        }

        context.Show(table);
        if (alone > 0)
        {
            context.Sentence($"For {alone} of our timings the file has none with the same shape, threads and weights.");
        }
    }

    /// <summary>A layer in floating point is what an int8 layer replaces.</summary>
    private static bool IsComparable(BenchmarkKind peer, BenchmarkKind ours) =>
        peer == ours || (ours == BenchmarkKind.Layer && peer == BenchmarkKind.FloatingPoint);
}
