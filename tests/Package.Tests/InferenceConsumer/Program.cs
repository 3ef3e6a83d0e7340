using System;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Quantization;
using KernelGen.Inference.Tokenization;
using KernelGen.Inference.Transformers;

// Loads the checkpoint that is named, in int8, and continues a text: greedy, so the ids are always the same.
using TransformerModel model = TransformerModel.Load(args[0], QuantizationScheme.Parse("llm-int8").CreateFactory());
Tokenizer tokenizer = Tokenizer.Load(args[0]);
int[] ids = new TextGenerator(model).Generate(tokenizer.Encode("Once upon a time"), new GenerationOptions { MaxNewTokens = 8 });
Console.WriteLine(string.Join(' ', ids));
