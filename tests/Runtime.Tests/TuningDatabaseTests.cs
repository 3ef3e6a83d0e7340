using KernelGen.Tuning;
using Xunit;

namespace KernelGen.Tests;

/// <summary>The folder of records: what is stored is there, what is damaged is passed over with one warning.</summary>
public sealed class TuningDatabaseTests : IDisposable
{
    private readonly TuningDatabase _database = new(Path.Combine(Path.GetTempPath(), $"kernelgen-tuning-{Guid.NewGuid():N}"));

    public void Dispose()
    {
        if (Directory.Exists(_database.Folder))
        {
            Directory.Delete(_database.Folder, recursive: true);
        }
    }

    [Fact]
    public void A_folder_that_does_not_exist_is_an_empty_database()
    {
        Assert.Empty(_database.Load().Records);
        Assert.Null(_database.Load().Warning);
        Assert.Equal(0, _database.Clear());
        _database.Repair();
    }

    [Fact]
    public void What_was_stored_is_found_and_replaced_by_its_key()
    {
        _database.Store(TuningSamples.Record());
        _database.Store(TuningSamples.Record(1));
        _database.Store(TuningSamples.Record(chosen: "faster"));
        Assert.Equal(2, _database.Load().Records.Count);
        Assert.Equal("faster", _database.Find(TuningSamples.Record().Key)!.Chosen);
        Assert.Null(_database.Find(TuningSamples.Record(2).Key));
        Assert.Equal(2, _database.Clear());
        Assert.Empty(_database.Load().Records);
    }

    [Fact]
    public void Merging_keeps_the_newer_record()
    {
        DateTime early = new(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc), late = early.AddDays(1);
        _database.Store(TuningSamples.Record(at: late, chosen: "late"));
        Assert.Equal(1, _database.Merge([TuningSamples.Record(at: early, chosen: "early"), TuningSamples.Record(1, at: early)]));
        Assert.Equal("late", _database.Find(TuningSamples.Record().Key)!.Chosen);
        Assert.Equal(1, _database.Merge([TuningSamples.Record(at: late.AddSeconds(1), chosen: "latest")]));
        Assert.Equal("latest", _database.Find(TuningSamples.Record().Key)!.Chosen);
    }

    [Fact]
    public void Damaged_and_foreign_files_give_one_warning_and_are_written_anew()
    {
        TuningRecord record = TuningSamples.Record(), other = TuningSamples.Record(1);
        _database.Store(record);
        _database.Store(other);
        string file = Path.Combine(_database.Folder, record.Key.Id() + ".json");
        byte[] bytes = File.ReadAllBytes(file);
        bytes[bytes.Length / 2] ^= 1;
        File.WriteAllBytes(file, bytes);
        File.WriteAllText(Path.Combine(_database.Folder, "notes.json"), "{\"mine\":true}");
        File.Copy(Path.Combine(_database.Folder, other.Key.Id() + ".json"), Path.Combine(_database.Folder, new string('0', 32) + ".json"));
        TuningContent content = _database.Load();
        Assert.Equal(other.Key, Assert.Single(content.Records).Key);
        Assert.Equal(3, content.Problems.Count);
        Assert.StartsWith("3 of 4 tuning records are damaged or foreign", content.Warning, StringComparison.Ordinal);
        Assert.Null(_database.Find(record.Key));

        _database.Store(record);
        Assert.Equal(record.Key, _database.Find(record.Key)!.Key);
        _database.Repair();
        Assert.Equal(2, _database.Load().Records.Count);
        Assert.Equal("notes.json", Path.GetFileName(Assert.Single(_database.Load().Problems).File));
        Assert.Equal(2, _database.Clear());
        Assert.True(File.Exists(Path.Combine(_database.Folder, "notes.json")));
    }

    [Fact]
    public void Repairing_removes_old_leftovers_of_killed_processes_and_no_young_ones()
    {
        _database.Store(TuningSamples.Record());
        string old = Path.Combine(_database.Folder, "a.1-2.tmp"), young = Path.Combine(_database.Folder, "b.1-2.tmp");
        File.WriteAllText(old, "half");
        File.WriteAllText(young, "half");
        File.SetLastWriteTimeUtc(old, DateTime.UtcNow.AddHours(-2));
        _database.Repair();
        Assert.False(File.Exists(old));
        Assert.True(File.Exists(young));
        Assert.Null(_database.Load().Warning);
    }

    [Fact]
    public void A_huge_file_is_not_read()
    {
        _database.Store(TuningSamples.Record());
        using (FileStream huge = File.Create(Path.Combine(_database.Folder, new string('1', 32) + ".json")))
        {
            huge.SetLength(1L << 33);
        }

        Assert.Single(_database.Load().Records);
        Assert.Contains("more than a record can have", _database.Load().Warning, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Writers_at_once_lose_nothing_and_readers_never_see_half_a_record()
    {
        const int Writers = 6, Records = 30;
        using CancellationTokenSource done = new();
        // A thread of its own: the pool's may all be busy with writers.
        using ManualResetEventSlim started = new();
        Task reader = Task.Factory.StartNew(
            () =>
            {
                while (!done.IsCancellationRequested)
                {
                    Assert.Null(_database.Load().Warning);
                    started.Set();
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        started.Wait();
        await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(() =>
        {
            for (int i = 0; i < Records; i++)
            {
                // One key of its own, one that all write.
                _database.Store(TuningSamples.Record(n: 1 + writer, k: 1 + i));
                _database.Store(TuningSamples.Record(n: 1000, k: 1 + i));
            }
        })));
        await done.CancelAsync();
        await reader;
        Assert.Equal((Writers + 1) * Records, _database.Load().Records.Count);
        Assert.Empty(Directory.GetFiles(_database.Folder, "*.tmp"));
    }
}
