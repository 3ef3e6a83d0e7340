using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using KernelGen.Inference.Tokenization;
using KernelGen.Tests;
using Xunit;
using Xunit.Abstractions;

namespace KernelGen.Inference.Tests.Tokenization;

/// <summary>Holds the tokenizer against what the reference implementation made of whole texts.</summary>
public sealed class TokenizerModelTests(ITestOutputHelper output)
{
    [Fact]
    public void The_bundled_text_encodes_to_the_reference_tokens() => MatchReference(RepositoryPaths.Model("opt-1.5m"));

    [SkippableFact]
    public void The_text_of_the_larger_model_encodes_to_the_reference_tokens()
    {
        string? model = RepositoryPaths.SharedModel("opt-30m-outliers");
        Skip.If(model is null, "needs the shared folder");
        MatchReference(model);
    }

    private void MatchReference(string model)
    {
        string text = File.ReadAllText(Path.Combine(model, "text.txt"), Encoding.UTF8);
        byte[] reference = File.ReadAllBytes(Path.Combine(model, "text.tokens.u16"));
        int[] expected = MemoryMarshal.Cast<byte, ushort>(reference).ToArray().Select(static id => (int)id).ToArray();

        Tokenizer tokenizer = Tokenizer.Load(model);
        Stopwatch clock = Stopwatch.StartNew();
        int[] ids = tokenizer.Encode(text);
        output.WriteLine($"{text.Length} characters, {ids.Length} tokens, {clock.Elapsed.TotalMilliseconds:F1} ms");

        Assert.Equal(expected, ids);
        // The larger text has a literal <s>, which is a special token: kept, or it would be missing from the text.
        Assert.Equal(text, tokenizer.Decode(ids, skipSpecialTokens: false));
    }
}
