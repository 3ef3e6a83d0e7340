using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using KernelGen.Inference.Tokenization;
using Xunit;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>Holds the merging with a queue against the definition: the pair of lowest rank, of equal ones the leftmost, until none is left.</summary>
public sealed class MergeTableTests
{
    [Property(MaxTest = 3000)]
    public Property Merging_equals_its_definition()
    {
        Gen<int[]> ints = Gen.Choose(0, int.MaxValue - 1).ArrayOf(24);
        return Prop.ForAll(ints.ToArbitrary(), Gen.Choose(0, 60).ToArbitrary(), Gen.Choose(0, int.MaxValue - 1).ToArbitrary(), static (merges, length, seed) =>
        {
            // Symbols 0..3 at first; merge i makes symbol 4 + i of two that exist before it, so that merges build on each other.
            Dictionary<(int, int), (int Rank, int Merged)> ranks = [];
            MergeTable table = new(merges.Length);
            for (int i = 0; i < merges.Length; i++)
            {
                (int left, int right) = (merges[i] % (4 + i), merges[i] / 64 % (4 + i));
                if (ranks.TryAdd((left, right), (i, 4 + i)))
                {
                    table.Add(i, left, right, 4 + i);
                }
            }

            Random random = new(seed);
            int[] symbols = [.. Enumerable.Range(0, length).Select(_ => random.Next(4))];
            int[] expected = [.. Reference([.. symbols], ranks)];
            int count = table.Apply(symbols, new MergeScratch());
            return expected.AsSpan().SequenceEqual(symbols.AsSpan(0, count));
        });
    }

    [Fact]
    public void A_word_of_a_million_equal_letters_is_merged_in_little_time()
    {
        MergeTable table = new(3);
        table.Add(0, 0, 0, 1);
        table.Add(1, 1, 1, 2);
        table.Add(2, 2, 2, 3);
        int[] symbols = new int[1_000_003];

        // 125,000 groups of eight, then a pair and a single one.
        Assert.Equal(125_002, table.Apply(symbols, new MergeScratch()));
        Assert.All(symbols[..125_000], static symbol => Assert.Equal(3, symbol));
        Assert.Equal([1, 0], symbols[125_000..125_002]);
    }

    private static List<int> Reference(List<int> symbols, Dictionary<(int, int), (int Rank, int Merged)> ranks)
    {
        while (true)
        {
            (int Rank, int Position, int Merged) best = (int.MaxValue, -1, 0);
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                if (ranks.TryGetValue((symbols[i], symbols[i + 1]), out (int Rank, int Merged) merge) && merge.Rank < best.Rank)
                {
                    best = (merge.Rank, i, merge.Merged);
                }
            }

            if (best.Position < 0)
            {
                return symbols;
            }

            symbols[best.Position] = best.Merged;
            symbols.RemoveAt(best.Position + 1);
        }
    }
}
