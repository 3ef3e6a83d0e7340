using KernelGen.Inference.Devices;
using KernelGen.Inference.Generation;
using KernelGen.Inference.Serving;

namespace KernelGen.Decoder.Gpu.Serving;

/// <summary>Texts that advance together, step by step, without an engine: every logit can be looked at between two steps.</summary>
internal sealed class SteppedTexts
{
    private readonly DeviceModel _model;
    private readonly DecodeRow[] _rows;

    /// <summary>Runs the prompts, each in a slot of its own.</summary>
    public SteppedTexts(DeviceModel model, int[][] prompts, int context = 128)
    {
        _model = model;
        int pages = (context + DecoderRow.PageSize - 1) / DecoderRow.PageSize;
        _rows = new DecodeRow[prompts.Length];
        GenerationOptions greedy = new();
        for (int i = 0; i < prompts.Length; i++)
        {
            model.Executor.Place(i, [.. Enumerable.Range(i * pages, pages)]);
            int token = 0;
            for (int done = 0; done < prompts[i].Length;)
            {
                int count = Math.Min(model.Executor.PrefillChunk, prompts[i].Length - done);
                token = model.Executor.Prefill(i, prompts[i].AsSpan(done, count), done, done + count == prompts[i].Length, greedy);
                done += count;
            }

            _rows[i] = new DecodeRow(i, token, prompts[i].Length, greedy);
        }
    }

    /// <summary>The next tokens.</summary>
    public IEnumerable<int> Tokens => _rows.Select(static row => row.Token);

    /// <summary>Feeds tokens, its own or others, and returns the logits that follow, [texts][vocabulary].</summary>
    public float[] Step(int[]? forced = null)
    {
        for (int i = 0; forced is not null && i < _rows.Length; i++)
        {
            _rows[i] = _rows[i] with { Token = forced[i] };
        }

        int[] next = new int[_rows.Length];
        _model.Executor.Decode(_rows, next);
        for (int i = 0; i < _rows.Length; i++)
        {
            _rows[i] = _rows[i] with { Token = next[i], Position = _rows[i].Position + 1 };
        }

        float[] logits = new float[_rows.Length * _model.Description.VocabularySize];
        _model.ReadLogits(logits);
        return logits;
    }

    /// <summary>Greedy texts, the prompts' first tokens among them.</summary>
    public int[][] Generate(int count)
    {
        List<int>[] texts = [.. Tokens.Select(static token => new List<int> { token })];
        for (int step = 1; step < count; step++)
        {
            _ = Step();
            foreach ((List<int> text, int token) in texts.Zip(Tokens))
            {
                text.Add(token);
            }
        }

        return [.. texts.Select(static text => text.ToArray())];
    }
}
