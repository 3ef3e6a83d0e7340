using System.CommandLine;
using System.Diagnostics;
using System.Text;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Html;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Inference.Benchmarks;
using KernelGen.Inference.Checkpoints;
using KernelGen.Tuning;
using Spectre.Console;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen autotune</c>: finds the fastest variant of every shape on this machine and keeps it for this user.</summary>
internal static class AutotuneCommand
{
    public static Command Create(CommandContext context)
    {
        Option<string?> device = DeviceOption.Create();
        Option<string?> model = OptionFactory.Text("--model", "DIR", "A checkpoint's folder: the sizes of its linear layers, with the rows of --m.");
        Option<string?> shapes = ShapesOption.Create("Rows of activations, input and output features.");
        Option<string?> rows = OptionFactory.Text(
            "--m", "M[,M...]", "Rows of activations for --model; one of every bucket unless given: 1,4,16,64,256,1024,2048.");
        Option<string?> spec = OptionFactory.Text("--spec", "NAME", $"Whose kernels, LlmInt8 unless given: {KernelSpecs.Names}.");
        Option<string?> output = OptionFactory.Text("--output", "T", "The results' type on a GPU, float16 unless given: float16, bfloat16, float32.");
        Option<float?> budget = OptionFactory.Number(
            "--budget", "SECONDS", "No shape is begun after so long.", "a positive number", static value => value > 0);
        Option<bool> missing = OptionFactory.Switch("--missing", "Only shapes that have no record yet.");
        Option<string?> report = OptionFactory.Text("--report", "FILE.html", "Writes a page to look at there, to a new file or over such a page, of all the shapes that have a record; it needs no network.");
        Option<bool> json = SharedOptions.Json("The records, one JSON object per shape and line.");
        Command command = new("autotune", "Finds the fastest kernels for the sizes of a model or of a list on this machine; later multiplications use them.")
        {
            device, model, shapes, rows, spec, output, budget, missing, report, json,
        };
        command.SetAction(parsed =>
        {
            BenchmarkShape[] wanted = Shapes(parsed.GetValue(model), parsed.GetValue(shapes), parsed.GetValue(rows));
            OutputFile? page = parsed.GetValue(report) is string file
                ? OutputFile.CheckPage("--report", file, HtmlReport.Tuning, parsed.GetValue(model))
                : null;
            using TuningSession session = TuningSession.Open(
                DeviceOption.Parse(parsed.GetValue(device)), KernelSpecs.Find(parsed.GetValue(spec) ?? "LlmInt8"), Format(parsed.GetValue(output)));
            Run(context, session, wanted, parsed.GetValue(budget), parsed.GetValue(missing), page, parsed.GetValue(json));
            return ExitCodes.Ok;
        });
        return command;
    }

    private static void Run(CommandContext context, TuningSession session, BenchmarkShape[] shapes, float? budget, bool missing, OutputFile? page, bool json)
    {
        TuningDatabase database = UserRecords.Database();
        TuningContent before = database.Load();
        BenchmarkShape[] left = missing ? [.. shapes.Where(shape => !before.Records.Any(record => record.Key == session.KeyOf(shape)))] : shapes;
        if (left.Length > 0 || before.Warning is not null)
        {
            UserRecords.RequireWritable(database);
        }

        if (before.Warning is { } warning)
        {
            context.Note(warning);
            database.Repair();
        }

        List<TuningRecord> records = [];
        long start = Stopwatch.GetTimestamp();
        try
        {
            ProgressBars.Run(context, json, bars =>
            {
                ProgressReporter bar = bars.Start("measuring what the device can do");
                TuningCeilings? ceilings = left.Length == 0 ? null : session.MeasureCeilings();
                for (int i = 0; i < left.Length && (budget is not { } seconds || Stopwatch.GetElapsedTime(start).TotalSeconds < seconds); i++)
                {
                    TuningRecord record = session.Tune(left[i], ceilings, new StageReporter(bar, left[i], i, left.Length), context.Cancellation);
                    UserRecords.Store(database, () => database.Store(record));
                    records.Add(record);
                    if (json)
                    {
                        context.Output.WriteLine(Encoding.UTF8.GetString(TuningRecordJson.Write(record)));
                        context.Output.Flush();
                    }
                }

                return true;
            });
        }
        finally
        {
            // Also after Ctrl-C: what was tuned is stored, and shown.
            if (!json && records.Count > 0)
            {
                Show(context, records);
            }

            if (page is not null)
            {
                HashSet<TuningKey> tuned = [.. records.Select(static record => record.Key)], asked = [.. shapes.Select(session.KeyOf)];
                WriteReport(context, page, [.. records, .. before.Records.Where(record => asked.Contains(record.Key) && !tuned.Contains(record.Key))]);
            }
        }

        if (!json)
        {
            Conclude(context, database, shapes, left, records.Count);
        }
    }

    private static void Conclude(CommandContext context, TuningDatabase database, BenchmarkShape[] shapes, BenchmarkShape[] left, int tuned)
    {
        string already = shapes.Length > left.Length ? $" {shapes.Length - left.Length} had a record." : "";
        string rest = tuned < left.Length ? $" {left.Length - tuned} are left: the same command with --missing goes on with them." : "";
        context.Sentence($"{tuned} of {shapes.Length} shapes tuned.{already}{rest} The records are in {database.Folder}.");
    }

    private static void WriteReport(CommandContext context, OutputFile page, IReadOnlyList<TuningRecord> records)
    {
        if (records.Count == 0)
        {
            context.Note($"no shape has a record, so there is nothing to write to '{page.Path}'.");
            return;
        }

        string title = $"Tuning of {records[0].Key.Target.Device.Name}";
        page.Write(Encoding.UTF8.GetBytes(HtmlReport.Compose(title, HtmlReport.Tuning, writer => TuningPageJson.Write(writer, records))));
        context.Note($"the report is in '{page.Path}'.");
    }

    private static void Show(CommandContext context, List<TuningRecord> records)
    {
        Table table = Report.CreateTable(context, "MxKxN", "fastest", ">us", ">spread", ">untuned us", ">gain", ">tried", ">of", ">seconds");
        foreach (TuningRecord record in records)
        {
            TuningTiming chosen = record.Find(record.Chosen)!.Timing!;
            TuningTiming? untuned = record.Find(record.Untuned)?.Timing;
            table.AddCells(
                null,
                $"{record.Rows}x{record.Key.K}x{record.Key.N}",
                record.Chosen,
                Numbers.Invariant($"{chosen.Median:0.0}"),
                Numbers.Invariant($"{chosen.Spread:0.0}"),
                untuned is null ? "" : Numbers.Invariant($"{untuned.Median:0.0}"),
                untuned is null ? "" : Numbers.Ratio(untuned.Median / chosen.Median),
                Numbers.Count(record.Variants.Count(static variant => variant.Timing is not null)),
                Numbers.Count(record.Variants.Count),
                Numbers.Invariant($"{record.Seconds:0.0}"));
        }

        context.Show(table);
    }

    private static BenchmarkShape[] Shapes(string? model, string? shapes, string? rows)
    {
        if (shapes is not null)
        {
            return model is null && rows is null
                ? [.. ShapesOption.Parse(shapes).Distinct()]
                : throw new BadInputException($"{ShapesOption.Name}: the shapes are whole; leave --model and --m out.");
        }

        if (model is null)
        {
            throw new BadInputException("--model: give a checkpoint's folder, or sizes such as --shapes 128x4096x11008.");
        }

        CheckpointReport report = CheckpointReport.Read(InputFiles.ModelFolder("--model", model));
        if (report.Model is null)
        {
            throw new BadInputException($"--model: {report.NotSupported}");
        }

        int[] wanted = rows is null
            ? [.. Enumerable.Range(0, RowBucket.Count).Select(RowBucket.Representative)]
            : ShapesOption.WholeNumbers("--m", rows);
        return
        [
            .. from layer in report.LinearLayers.Select(static layer => (layer.InputFeatures, layer.OutputFeatures)).Distinct()
               from m in wanted
               select ShapesOption.Check("--m", new BenchmarkShape(m, layer.InputFeatures, layer.OutputFeatures)),
        ];
    }

    private static ElementFormat Format(string? name) => name switch
    {
        null or "float16" => ElementFormat.Float16,
        "bfloat16" => ElementFormat.BFloat16,
        "float32" => ElementFormat.Float32,
        _ => throw new BadInputException($"--output: '{name}' is not one of float16, bfloat16, float32."),
    };

    /// <summary>A race's progress on the bar of all shapes.</summary>
    private sealed class StageReporter(ProgressReporter bar, BenchmarkShape shape, int index, int count) : IProgress<TuningProgress>
    {
        public void Report(TuningProgress value)
        {
            string best = value.Best is null ? "" : Numbers.Invariant($", best {value.BestMicroseconds:0.0} us: {value.Best}");
            bar.Describe($"{index + 1} of {count}: {shape}, {value.Tried} of {value.Candidates} variants{best}");
            bar.Report((index + value.Share) / count);
        }
    }
}
