// What each way to quantize does to a model: its perplexity on a text, and its memory.
using KernelGen.Inference.Checkpoints;
using KernelGen.Inference.Evaluation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;
using KernelGen.Inference.Transformers;

if (args.Length < 1)
{
    Console.Error.WriteLine("Give a checkpoint's folder that has a text.txt, such as models/opt-1.5m.");
    return 2;
}

string folder = args[0];
PerplexityOptions options = new() { WindowLength = 512, Windows = 8, BatchSize = 4 };

// Ctrl-C ends it between two layers.
using CancellationTokenSource cancellation = new();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    cancellation.Cancel();
};
try
{
    int[] tokens = Tokenizer.Load(folder).Encode(File.ReadAllText(Path.Combine(folder, "text.txt")));
    foreach (string name in (string[])["fp32", "absmax", "absmax-vector", "llm-int8"])
    {
        QuantizationScheme scheme = QuantizationScheme.Parse(name);
        using TransformerModel model = TransformerModel.Load(folder, scheme.CreateFactory(), cancellation: cancellation.Token);
        PerplexityResult result = Perplexity.Evaluate(model, tokens, options, cancellation: cancellation.Token);
        Console.WriteLine($"{name,-14} perplexity {result.Perplexity:F2}, {model.Bytes / 1e6:F1} MB");
    }

    return 0;
}
catch (OperationCanceledException)
{
    Console.Error.WriteLine("Cancelled.");
    return 130;
}
catch (Exception exception) when (exception is CheckpointException or TokenizerException or IOException or UnauthorizedAccessException)
{
    Console.Error.WriteLine(exception.Message);
    return 2;
}
