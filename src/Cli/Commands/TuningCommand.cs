using System.CommandLine;
using System.Text;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Models;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using KernelGen.Tuning;
using Spectre.Console;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen tuning</c>: the tuning records of this user and those that come with the tool.</summary>
internal static class TuningCommand
{
    private const int ShownDigits = 8;

    public static Command Create(CommandContext context) => new("tuning", "Lists, shows, exports, imports and clears tuning records.")
    {
        List(context), ShowOne(context), Export(context), Import(context), Clear(context),
    };

    private static Command List(CommandContext context)
    {
        Option<bool> json = SharedOptions.Json("One JSON object per record and line, without the variants.");
        Command command = new("list", "Lists the records that there are, and whether multiplications here use them.") { json };
        command.SetAction(parsed =>
        {
            TuningRecord[] own = [.. OwnRecords(context)];
            HashSet<string> ownIds = [.. own.Select(static record => record.Key.Id())];
            (TuningRecord Record, string Source)[] all =
            [
                .. own.Select(static record => (record, "user")),
                .. TuningArchive.Bundled().Where(record => !ownIds.Contains(record.Key.Id())).Select(static record => (record, "bundled")),
            ];
            if (parsed.GetValue(json))
            {
                foreach ((TuningRecord record, string source) in all)
                {
                    WriteSummary(context, record, source);
                }

                return ExitCodes.Ok;
            }

            Table table = Report.CreateTable(context, "id", "device", "spec", "M", ">K", ">N", "fastest", ">us", ">gain", "used here", "from");
            foreach ((TuningRecord record, string source) in all)
            {
                string use = TuningUse.Of(record);
                table.AddCells(
                    Report.StyleOf(use != TuningUse.No),
                    record.Key.Id()[..ShownDigits],
                    $"{record.Key.Target.Device.Kind} {record.Key.Target.Device.Name}",
                    ShortSpec(record),
                    Rows(record),
                    Numbers.Invariant($"{record.Key.K}"),
                    Numbers.Invariant($"{record.Key.N}"),
                    record.Chosen,
                    Numbers.Invariant($"{record.Find(record.Chosen)!.Timing!.Median:0.0}"),
                    Gain(record),
                    use,
                    source);
            }

            context.Show(table);
            context.Sentence($"{own.Length} records of this user, in {UserRecords.Database().Folder}; {all.Length - own.Length} that come with the tool.");
            return ExitCodes.Ok;
        });
        return command;
    }

    private static Command ShowOne(CommandContext context)
    {
        Argument<string> id = new("ID") { Description = "The record's id, or the first digits of it, as 'kernelgen tuning list' shows it." };
        Option<bool> json = SharedOptions.Json("The whole record as one JSON object.");
        Command command = new("show", "Shows a record: every variant with its times, and why others were left out.") { id, json };
        command.SetAction(parsed =>
        {
            string wanted = parsed.GetValue(id)!;
            TuningRecord[] found = [.. OwnRecords(context).Concat(TuningArchive.Bundled())
                .DistinctBy(static record => record.Key.Id())
                .Where(record => wanted.Length > 0 && record.Key.Id().StartsWith(wanted, StringComparison.OrdinalIgnoreCase))];
            TuningRecord record = found.Length == 1 ? found[0] : throw new BadInputException(found.Length == 0
                ? $"ID: there is no record '{wanted}'. 'kernelgen tuning list' lists them."
                : $"ID: '{wanted}' is the beginning of {found.Length} records. Give more digits.");
            if (parsed.GetValue(json))
            {
                context.Output.WriteLine(Encoding.UTF8.GetString(TuningRecordJson.Write(record)));
            }
            else
            {
                Show(context, record);
            }

            return ExitCodes.Ok;
        });
        return command;
    }

    private static Command Export(CommandContext context)
    {
        Argument<string> file = new("FILE") { Description = "The file to write; refused where it exists." };
        Option<bool> compact = OptionFactory.Switch("--compact", "Of every record only the variants that decide something: finalists, the untuned one, the best of each group.");
        Command command = new("export", "Writes this user's records into one file.") { file, compact };
        command.SetAction(parsed =>
        {
            OutputFile output = OutputFile.Check("FILE", parsed.GetValue(file)!);
            TuningRecord[] records = [.. OwnRecords(context).Select(record => parsed.GetValue(compact) ? record.Compact() : record)];
            output.Write(TuningArchive.Write(records));
            context.Sentence($"{records.Length} records are in {output.Path}.");
            return ExitCodes.Ok;
        });
        return command;
    }

    private static Command Import(CommandContext context)
    {
        Argument<string> file = new("FILE") { Description = "What 'kernelgen tuning export' wrote, here or on another machine." };
        Command command = new("import", "Takes records over from a file; of two for the same thing the newer one stays.") { file };
        command.SetAction(parsed =>
        {
            string path = parsed.GetValue(file)!;
            IReadOnlyList<TuningRecord> records;
            try
            {
                records = TuningArchive.Read(Encoding.UTF8.GetBytes(InputFiles.ReadText("FILE", path)));
            }
            catch (FormatException exception)
            {
                throw new BadInputException($"FILE: '{path}' cannot be used: {exception.Message}. Export it again; nothing was imported.", exception);
            }

            TuningDatabase database = UserRecords.Database();
            UserRecords.RequireWritable(database);
            int stored = 0;
            UserRecords.Store(database, () => stored = database.Merge(records));
            context.Sentence($"{stored} of {records.Count} records imported; for the others there is one as new already.");
            return ExitCodes.Ok;
        });
        return command;
    }

    private static Command Clear(CommandContext context)
    {
        Command command = new("clear", "Deletes this user's records. Those that come with the tool stay.");
        command.SetAction(_ =>
        {
            context.Sentence($"{UserRecords.Database().Clear()} records deleted.");
            return ExitCodes.Ok;
        });
        return command;
    }

    private static IEnumerable<TuningRecord> OwnRecords(CommandContext context)
    {
        TuningContent content = UserRecords.Database().Load();
        if (content.Warning is { } warning)
        {
            context.Note(warning);
        }

        return content.Records
            .OrderBy(static record => record.Key.Target.Device.Kind, StringComparer.Ordinal)
            .ThenBy(static record => record.Key.Target.Device.Name, StringComparer.Ordinal)
            .ThenBy(static record => record.Key.Target.Spec, StringComparer.Ordinal)
            .ThenBy(static record => record.Key.K).ThenBy(static record => record.Key.N).ThenBy(static record => record.Key.Bucket);
    }

    private static void WriteSummary(CommandContext context, TuningRecord record, string source) => JsonLine.Write(context.Output, writer =>
    {
        TuningKey key = record.Key;
        writer.WriteString("id", key.Id());
        writer.WriteString("from", source);
        writer.WriteString("used_here", TuningUse.Of(record));
        writer.WriteString("kind", key.Target.Device.Kind);
        writer.WriteString("device", key.Target.Device.Name);
        writer.WriteString("spec", key.Target.Spec);
        writer.WriteString("output", key.Target.Output.ToString().ToLowerInvariant());
        writer.WriteNumber("m_from", RowBucket.From(key.Bucket));
        writer.WriteNumber("m_to", RowBucket.To(key.Bucket));
        writer.WriteNumber("k", key.K);
        writer.WriteNumber("n", key.N);
        writer.WriteString("chosen", record.Chosen);
        writer.WriteNumber("us_median", record.Find(record.Chosen)!.Timing!.Median);
        writer.WriteNumberOrNull("untuned_us_median", record.Find(record.Untuned)?.Timing?.Median ?? double.NaN);
        writer.WriteString("measured_at", record.MeasuredAt);
    });

    private static void Show(CommandContext context, TuningRecord record)
    {
        TuningKey key = record.Key;
        context.Sentence($"{key.Id()}: {record.Rows}x{key.K}x{key.N}, for {Rows(record)} rows, {key.Target.Output.ToString().ToLowerInvariant()} results, {record.OutlierColumns} outlier columns");
        context.Sentence($"{key.Target.Device}, {string.Join(", ", new[] { key.Driver, key.Runtime }.Where(static version => version.Length > 0))}");
        context.Sentence($"{key.Target.Spec}, generator {(key.Target.Generator.Length > 0 ? key.Target.Generator : "any")}, used here: {TuningUse.Of(record)}");
        if (record.Ceilings is { } ceilings)
        {
            context.Sentence(Numbers.Invariant(
                $"ceilings: {ceilings.BytesPerSecond / 1e9:0.0} GB/s, {ceilings.Int8OperationsPerSecond / 1e12:0.00} TOPS int8 ({ceilings.Int8By}), {ceilings.FloatOperationsPerSecond / 1e12:0.00} TFLOPS ({ceilings.FloatBy})"));
        }

        Table table = Report.CreateTable(context, "variant", ">us", ">min", ">max", ">spread", ">samples", "");
        foreach (VariantResult variant in record.Variants)
        {
            string note = variant.Name == record.Chosen ? "chosen" : variant.Reason is { } reason ? $"{variant.Outcome.ToString().ToLowerInvariant()}: {reason}" : "";
            note += variant.Name == record.Untuned ? note.Length > 0 ? ", untuned" : "untuned" : "";
            TuningTiming? timing = variant.Timing;
            table.AddCells(
                Report.StyleOf(variant.Outcome == VariantOutcome.Finalist),
                variant.Name,
                timing is null ? "" : Numbers.Invariant($"{timing.Median:0.00}"),
                timing is null ? "" : Numbers.Invariant($"{timing.Minimum:0.00}"),
                timing is null ? "" : Numbers.Invariant($"{timing.Maximum:0.00}"),
                timing is null ? "" : Numbers.Invariant($"{timing.Spread:0.00}"),
                timing is null ? "" : Numbers.Count(timing.Samples.Count),
                note);
        }

        context.Show(table);
        context.Sentence(Numbers.Invariant($"Measured at {record.MeasuredAt:yyyy-MM-dd HH:mm:ss} UTC, in {record.Seconds:0.0} s."));
    }

    private static string ShortSpec(TuningRecord record) => record.Key.Target.Spec[(record.Key.Target.Spec.LastIndexOf('.') + 1)..];

    private static string Rows(TuningRecord record) => (RowBucket.From(record.Key.Bucket), RowBucket.To(record.Key.Bucket)) switch
    {
        (1, _) => "1",
        (int from, int.MaxValue) => Numbers.Invariant($"{from} or more"),
        (int from, int to) => Numbers.Invariant($"{from}-{to}"),
    };

    private static string Gain(TuningRecord record) => record.Find(record.Untuned)?.Timing is { } untuned
        ? Numbers.Ratio(untuned.Median / record.Find(record.Chosen)!.Timing!.Median)
        : "";
}
