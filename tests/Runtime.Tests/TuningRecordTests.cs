using System.Security.Cryptography;
using System.Text;
using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Tests;

/// <summary>Records as JSON: what is written is read again, and what was changed is not believed.</summary>
public sealed class TuningRecordTests
{
    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 1)]
    [InlineData(4, 1)]
    [InlineData(5, 2)]
    [InlineData(16, 2)]
    [InlineData(17, 3)]
    [InlineData(64, 3)]
    [InlineData(65, 4)]
    [InlineData(256, 4)]
    [InlineData(257, 5)]
    [InlineData(1024, 5)]
    [InlineData(1025, 6)]
    [InlineData(int.MaxValue, 6)]
    public void Rows_fall_into_the_documented_buckets(int rows, int bucket)
    {
        Assert.Equal(bucket, RowBucket.Of(rows));
        Assert.InRange(rows, RowBucket.From(bucket), RowBucket.To(bucket));
        Assert.Equal(bucket, RowBucket.Of(RowBucket.Representative(bucket)));
    }

    [Fact]
    public void A_record_is_read_as_it_was_written()
    {
        TuningRecord record = TuningSamples.Record();
        byte[] json = TuningRecordJson.Write(record);
        TuningRecord read = TuningRecordJson.Read(json);
        Assert.Equal(record.Key, read.Key);
        Assert.Equal(json, TuningRecordJson.Write(read));
        Assert.Equal(10.5, read.Variants[0].Timing!.Median);
        Assert.Equal(10.123, read.Variants[0].Timing!.Minimum);
        Assert.Equal([14, 13.5], read.Variants[1].Timing!.Samples);
        Assert.Equal(2.0 * 128 * 3072 * 768, read.Operations);
    }

    [Fact]
    public void Of_ten_thousand_damaged_records_none_is_believed()
    {
        byte[] whole = TuningRecordJson.Write(TuningSamples.Record());
        JsonMutator mutator = new(seed: 20261125);
        int damaged = 0;
        while (damaged < 10_000)
        {
            byte[] bytes = mutator.Mutate(whole);
            if (!bytes.AsSpan().SequenceEqual(whole))
            {
                damaged++;
                Assert.Throws<FormatException>(() => TuningRecordJson.Read(bytes));
            }
        }
    }

    [Fact]
    public void A_strange_record_with_a_right_checksum_is_refused_or_consistent()
    {
        byte[] whole = TuningRecordJson.Write(TuningSamples.Record());
        ReadOnlySpan<byte> covered = whole.AsSpan(0, whole.Length - 77);
        JsonMutator mutator = new(seed: 20261126);
        int refused = 0;
        for (int i = 0; i < 3000; i++)
        {
            byte[] changed = mutator.Mutate(covered);
            byte[] signed = [.. changed, .. Encoding.ASCII.GetBytes($",\"sha256\":\"{Convert.ToHexStringLower(SHA256.HashData(changed))}\"}}")];
            try
            {
                TuningRecord record = TuningRecordJson.Read(signed);
                Assert.NotNull(record.Find(record.Chosen)!.Timing);
                Assert.True(record.Key.N > 0 && record.Key.K > 0 && record.Rows > 0);
            }
            catch (FormatException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 1000, 3000);
    }

    [Fact]
    public void Another_version_is_refused_by_its_number()
    {
        string json = Encoding.UTF8.GetString(TuningRecordJson.Write(TuningSamples.Record()));
        string changed = json[..^77].Replace("\"kernelgen_tuning\":1", "\"kernelgen_tuning\":2", StringComparison.Ordinal);
        byte[] signed = Encoding.UTF8.GetBytes($"{changed},\"sha256\":\"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(changed)))}\"}}");
        Assert.Contains("version 2", Assert.Throws<FormatException>(() => TuningRecordJson.Read(signed)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_key_has_everything_that_another_choice_may_follow_from()
    {
        TuningKey key = TuningSamples.Record().Key;
        TuningKey[] others =
        [
            key, key with { Driver = "CUDA 13.0" }, key with { Runtime = ".NET 10.0.2" }, key with { Bucket = 0 }, key with { N = 1 }, key with { K = 1 },
            key with { Target = key.Target with { SpecHash = "x" } }, key with { Target = key.Target with { VariantSetHash = "x" } },
            key with { Target = key.Target with { Generator = "x" } }, key with { Target = key.Target with { Output = ElementFormat.Float16 } },
            key with { Target = key.Target with { Device = key.Target.Device with { Name = "x" } } },
            key with { Target = key.Target with { Device = key.Target.Device with { Architecture = "x" } } },
            key with { Target = key.Target with { Device = key.Target.Device with { Units = 1 } } },
        ];
        Assert.Equal(others.Length, others.Select(static other => other.Id()).Distinct().Count());
    }

    [Fact]
    public void A_compact_record_keeps_what_decides()
    {
        TuningRecord compact = TuningSamples.Record().Compact();
        Assert.Equal(["fast", "plain", "slow"], compact.Variants.Select(static variant => variant.Name));
    }

    [Fact]
    public void An_export_is_read_as_it_was_written_and_one_damaged_record_spoils_it()
    {
        TuningRecord[] records = [TuningSamples.Record(), TuningSamples.Record(1)];
        byte[] export = TuningArchive.Write(records);
        Assert.Equal(records.Select(static record => record.Key), TuningArchive.Read(export).Select(static record => record.Key));
        Assert.Empty(TuningArchive.Read(TuningArchive.Write([])));
        string damaged = Encoding.UTF8.GetString(export).Replace("\"m\":1,", "\"m\":2,", StringComparison.Ordinal);
        Assert.Contains("record 2", Assert.Throws<FormatException>(() => TuningArchive.Read(Encoding.UTF8.GetBytes(damaged))).Message, StringComparison.Ordinal);
        Assert.Throws<FormatException>(() => TuningArchive.Read("[]"u8.ToArray()));
        Assert.Throws<FormatException>(() => TuningArchive.Read("{\"kernelgen_tuning_export\":2,\"records\":[]}"u8.ToArray()));
    }

    [Fact]
    public void The_bundled_records_are_whole_and_name_one_key_once()
    {
        IReadOnlyList<TuningRecord> bundled = TuningArchive.Bundled();
        Assert.Equal(bundled.Count, bundled.Select(static record => record.Key.Id()).Distinct().Count());
    }
}
