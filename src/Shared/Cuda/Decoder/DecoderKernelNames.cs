namespace KernelGen;

/// <summary>The computed names of the decoder's kernels, by which the runtime finds them.</summary>
internal static class DecoderKernelNames
{
    public static string Embed(int capability) => "embed" + Suffix(capability);

    /// <summary>A norm or a gate with what follows it.</summary>
    public static string Row(bool gate, RowSink sink, bool zeroPoint, int capability) =>
        (gate ? "gate" : "norm")
        + (sink switch { RowSink.Round => "", RowSink.Mark => "_mark", RowSink.Quantize => "_s8", RowSink.QuantizeElements => "_s8_elements", _ => "_s8_columns" })
        + (zeroPoint ? "_zp" : "") + Suffix(capability);

    public static string Store(int capability) => "rotary_store" + Suffix(capability);

    /// <summary>From a float16 cache to an int8 one, or back.</summary>
    public static string Cache(bool widens, int capability) => (widens ? "cache_widen" : "cache_pack") + Suffix(capability);

    public static string AttentionDecode(int headSize, int queries, bool int8Cache, int capability) =>
        $"attention_decode_d{headSize}_q{queries}{(int8Cache ? "_s8" : "")}{Suffix(capability)}";

    public static string AttentionPrefill(int headSize, int capability) => $"attention_prefill_d{headSize}_{DecoderRow.TileQueries}x{DecoderRow.PageSize}{Suffix(capability)}";

    /// <summary>For compute capability 9.0 alone.</summary>
    public static string AttentionPrefillWgmma(int headSize) => $"attention_prefill_d{headSize}_{DecoderRow.TileQueries}x{DecoderRow.PageSize}_wgmma_sm90a";

    public static string FloatGemmFew(int rows, ElementFormat output, bool int8Weights, int capability) => $"gemm_f16t_{(int8Weights ? "s8n" : "f16n")}_f32_{rows}_few_{Format(output)}{Suffix(capability)}";

    public static string FloatGemmMany(ElementFormat output, int capability) => $"gemm_f16t_f16n_f32_128x128x32_mma_{Format(output)}{Suffix(capability)}";

    /// <summary>For compute capability 9.0 alone.</summary>
    public static string FloatGemmWgmma(int blockN, ElementFormat output) => $"gemm_f16t_f16n_f32_128x{blockN}x64_wgmma_{Format(output)}_sm90a";

    /// <summary>int8 weights to f16.</summary>
    public static string WidenWeights(int capability) => "weights_widen" + Suffix(capability);

    public static string ArgMax(int capability) => "argmax" + Suffix(capability);

    public static string Sample(int capability) => "sample" + Suffix(capability);

    private static string Format(ElementFormat format) => format == ElementFormat.Float32 ? "f32" : "f16";

    private static string Suffix(int capability) => $"_sm{capability}";
}
