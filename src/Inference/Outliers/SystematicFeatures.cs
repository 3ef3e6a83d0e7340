namespace KernelGen.Inference.Outliers;

/// <summary>
/// Finds the columns that the paper counts as outlier features (arXiv 2208.07339, section 4.1): outliers in the same column in at least a
/// quarter of the layers and at 6 % of the sequence positions of all hidden states.
/// </summary>
internal static class SystematicFeatures
{
    public static IReadOnlyList<SystematicFeature> Find(IReadOnlyList<LinearInput> inputs, ColumnStatistics[] statistics, OutlierAnalysisOptions options)
    {
        int layers = 1 + inputs.Max(static input => input.Layer);
        List<SystematicFeature> features = [];
        foreach (FeatureSpace space in Enum.GetValues<FeatureSpace>())
        {
            int[] members = [.. Enumerable.Range(0, inputs.Count).Where(i => inputs[i].Space == space)];

            // A column number means the same feature only where all layers are equally wide.
            if (members.Select(i => inputs[i].Width).Distinct().Count() != 1)
            {
                continue;
            }

            ColumnStatistics together = new(inputs[members[0]].Width, options.Threshold, []);
            foreach (int i in members)
            {
                together.Add(statistics[i]);
            }

            features.AddRange(together.Columns()
                .Select(column => new SystematicFeature(space, LayersWith(column.Column), (double)LayersWith(column.Column) / layers, column))
                .Where(feature => feature.LayerShare >= options.LayerShare && feature.Statistics.PositionShare >= options.PositionShare)
                .OrderByDescending(static feature => feature.Statistics.PositionShare)
                .ThenByDescending(static feature => feature.Statistics.Absmax));

            int LayersWith(int column) => members.Where(i => statistics[i].HasOutliers(column)).Select(i => inputs[i].Layer).Distinct().Count();
        }

        return features;
    }
}
