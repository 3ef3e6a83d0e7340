using Xunit;

namespace KernelGen.Kernels.Tests;

/// <summary>Many tile shapes, so that every way to unroll a microkernel is held against the oracle.</summary>
[Int8Kernel(Outliers = OutlierPolicy.None, CpuTileM = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16], CpuTileN = [4, 8, 16, 24, 32, 48, 64])]
internal static partial class ManyTiles;

[Int8Kernel]
internal static partial class Columns;

[Int8Kernel(Outliers = OutlierPolicy.Elements)]
internal static partial class ElementsPolicy;

[Int8Kernel(Outliers = OutlierPolicy.Fixed)]
internal static partial class FixedColumns;

[Int8Kernel(Outliers = OutlierPolicy.None)]
internal static partial class NoOutliers;

[Int8Kernel(Outliers = OutlierPolicy.None, Granularity = QuantizationGranularity.Tensor)]
internal static partial class OneScale;

[Int8Kernel(Outliers = OutlierPolicy.Columns, Granularity = QuantizationGranularity.Tensor)]
internal static partial class OneScaleColumns;

[Int8Kernel(Outliers = OutlierPolicy.Columns, Granularity = QuantizationGranularity.Row)]
internal static partial class RowScales;

[Int8Kernel(Outliers = OutlierPolicy.None, Activations = ActivationQuantization.ZeroPoint)]
internal static partial class ZeroPoints;

[Int8Kernel(Outliers = OutlierPolicy.Fixed, Activations = ActivationQuantization.ZeroPoint, Granularity = QuantizationGranularity.Row)]
internal static partial class ZeroPointFixedRows;

[Int8Kernel(Outliers = OutlierPolicy.Columns, Activations = ActivationQuantization.ZeroPoint)]
internal static partial class ZeroPointColumns;

[Int8Kernel(Outliers = OutlierPolicy.Elements, Activations = ActivationQuantization.ZeroPoint, Granularity = QuantizationGranularity.Tensor)]
internal static partial class ZeroPointElements;

[Int8Kernel(Outliers = OutlierPolicy.Columns, Accumulation = Accumulation.Int64)]
internal static partial class LongSums;

[Int8Kernel(Outliers = OutlierPolicy.Elements, Activations = ActivationQuantization.ZeroPoint, Accumulation = Accumulation.Int64)]
internal static partial class LongZeroPointSums;

[Int8Kernel]
internal static partial class UsesItsOwnKernels
{
    public static readonly string[] Names = [.. Kernels.Variants.Select(variant => variant.Name)];
}

/// <summary>The kernel sets above, by name.</summary>
internal static class TestSpecs
{
    public static IReadOnlyDictionary<string, Int8KernelSet> All { get; } = new[]
    {
        ManyTiles.Kernels, Columns.Kernels, ElementsPolicy.Kernels, FixedColumns.Kernels, NoOutliers.Kernels, OneScale.Kernels,
        OneScaleColumns.Kernels, RowScales.Kernels, ZeroPoints.Kernels, ZeroPointFixedRows.Kernels, ZeroPointColumns.Kernels, ZeroPointElements.Kernels,
        LongSums.Kernels, LongZeroPointSums.Kernels,
    }.ToDictionary(set => set.Name.Split('.')[^1]);

    /// <summary>Every family of every set that this processor can run.</summary>
    public static TheoryData<string, string> Families()
    {
        TheoryData<string, string> data = [];
        foreach ((string name, Int8KernelSet set) in All)
        {
            foreach (CpuKernelFamily family in set.CpuFamilies)
            {
                if (Backends.Cpu.CpuFeatures.Supports(family.InstructionSet))
                {
                    data.Add(name, FamilyName(family));
                }
            }
        }

        return data;
    }

    public static string FamilyName(CpuKernelFamily family) => $"{family.InstructionSet}x{family.PanelWidth}";

    public static CpuKernelFamily Family(string set, string family) => All[set].CpuFamilies.Single(candidate => FamilyName(candidate) == family);
}
