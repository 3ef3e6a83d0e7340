using KernelGen.Inference.Transformers;

namespace KernelGen.Inference.Conversion;

/// <summary>
/// Which linear layers stay in floating point. By default the rule of transformers (<c>get_keys_to_not_convert</c>): an output embedding
/// of its own, or, where it is tied to the token embedding, the tied modules and the module whose parameters come last.
/// </summary>
internal sealed class SkipRule
{
    private readonly HashSet<string> _default;
    private readonly IReadOnlyList<string> _chosen;

    public SkipRule(DecoderDescription description, string prefix, IReadOnlyList<string> chosen)
    {
        // The output embedding is no layer of the description, so that leaves the last module: of transformers' modules that is a norm,
        // unless the last norm has no parameters.
        DecoderLayerDescription last = description.Layers[^1];
        bool endsInLayer = description.OutputEmbedding is null && description.FinalNorm is not { IsAffine: true } && !last.MlpNorm.IsAffine;
        _default = endsInLayer ? [prefix + last.LinearLayers.Last().Name] : [];
        _chosen = chosen;
    }

    /// <summary>Whether a layer stays as it is.</summary>
    public bool Skips(string module) => _default.Contains(module) || _chosen.Any(name => Names(name, module));

    /// <summary>The chosen names that no module has, which are mistakes.</summary>
    public IEnumerable<string> Unknown(IEnumerable<string> modules) => _chosen.Where(name => !modules.Any(module => Names(name, module)));

    private static bool Names(string name, string module) =>
        module == name
        || module.StartsWith(name + ".", StringComparison.Ordinal)
        || module.EndsWith("." + name, StringComparison.Ordinal);
}
