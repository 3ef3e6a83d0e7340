namespace KernelGen.Backends.Cuda;

/// <content>From logits to tokens.</content>
internal sealed unsafe partial class CudaDecoderKernels
{
    private const int SampleThreads = 1024;

    /// <summary>Queues the choice of every row's most probable token, the first of equals.</summary>
    /// <param name="stream">Where.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="logits">f32 [rows, vocabulary].</param>
    /// <param name="vocabulary">Logits per row, at most 2^30.</param>
    /// <param name="tokens">u32 [rows], written: <see cref="DecoderRow.NoToken"/> where a logit is NaN or the largest is infinite. May be what <see cref="Embed"/> reads.</param>
    /// <param name="positions">u32 [rows], or 0. Inactive rows are left as they are.</param>
    /// <param name="advance">Whether the positions grow by one, so that the next step needs no word from the host.</param>
    public void ArgMax(CudaStream stream, int rows, CudaMatrix logits, int vocabulary, ulong tokens, ulong positions = 0, bool advance = false) =>
        Launch(stream, DecoderKernelNames.ArgMax(Capability), Arguments(logits, vocabulary, tokens, positions, advance, 0), rows, SampleThreads);

    /// <summary>
    /// Queues the draw of a token per row: from the most probable ones whose probabilities reach top-p, among the top-k, at a temperature. The random
    /// number is a function of the row's seed and position alone (Philox 4x32-10, Salmon et al. 2011), all sums are exact integers: the same draw
    /// whatever the rows beside it.
    /// </summary>
    /// <param name="stream">Where.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="logits">f32 [rows, vocabulary].</param>
    /// <param name="vocabulary">Logits per row, at most 2^20.</param>
    /// <param name="sampling">On the device: <see cref="SamplingRow"/> [rows]. A temperature of 0 is <see cref="ArgMax"/>.</param>
    /// <param name="tokens">As for <see cref="ArgMax"/>; may be pinned host memory.</param>
    /// <param name="positions">u32 [rows].</param>
    /// <param name="advance">As for <see cref="ArgMax"/>.</param>
    public void Sample(CudaStream stream, int rows, CudaMatrix logits, int vocabulary, ulong sampling, ulong tokens, ulong positions, bool advance = false)
    {
        Require(vocabulary <= 1 << 20, $"A vocabulary of {vocabulary} is more than the 2^20 that sums of 64 bits are exact for.");
        Launch(stream, DecoderKernelNames.Sample(Capability), Arguments(logits, vocabulary, tokens, positions, advance, sampling), rows, SampleThreads);
    }

    private static SampleArguments Arguments(CudaMatrix logits, int vocabulary, ulong tokens, ulong positions, bool advance, ulong sampling)
    {
        Require(logits.Format == ElementFormat.Float32, $"Logits are f32, not {logits.Format}.");
        return new SampleArguments
        {
            Logits = logits.Address,
            Tokens = tokens,
            Positions = positions,
            Rows = sampling,
            Vocabulary = (uint)vocabulary,
            LogitStride = (uint)logits.RowStride,
            Advance = advance ? 1u : 0u,
        };
    }
}
