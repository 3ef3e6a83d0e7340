using System.IO.Compression;
using System.Xml.Linq;
using KernelGen.Tests;

namespace KernelGen.Package.Tests;

/// <summary>What a user gets from the packages alone, in a folder that knows nothing of this repository.</summary>
public sealed class PackageTests(Packages packages) : IClassFixture<Packages>
{
    private const string Expected = "1 outlier columns; equal to the plain loops";

    public static TheoryData<string, string[]> Contents() => new()
    {
        { "KernelGen", ["README.md", "icon.png", "analyzers/dotnet/cs/KernelGen.Generator.dll", "analyzers/dotnet/cs/KernelGen.CodeFixes.dll", "lib/net10.0/KernelGen.Runtime.dll", "lib/net10.0/KernelGen.Runtime.xml"] },
        { "KernelGen.Inference", ["README.md", "icon.png", "lib/net10.0/KernelGen.Inference.dll", "lib/net10.0/KernelGen.Inference.xml", "lib/net10.0/KernelGen.Kernels.Specs.dll"] },
        { "KernelGen.Tool", ["README.md", "icon.png", "tools/net10.0/any/kernelgen.dll", "tools/net10.0/any/KernelGen.Runtime.dll", "tools/net10.0/any/KernelGen.Kernels.Specs.dll"] },
    };

    [Theory]
    [MemberData(nameof(Contents))]
    public void A_package_has_its_parts_and_says_what_it_is(string id, string[] parts)
    {
        using ZipArchive package = ZipFile.OpenRead(Path.Combine(packages.Feed, $"{id}.{packages.Version}.nupkg"));
        string[] names = [.. package.Entries.Select(entry => entry.FullName)];
        Assert.All(parts, part => Assert.Contains(part, names));
        using StreamReader reader = new(package.GetEntry($"{id}.nuspec")!.Open());
        string nuspec = reader.ReadToEnd();
        Assert.Contains("<license type=\"expression\">MIT</license>", nuspec, StringComparison.Ordinal);
        Assert.Contains("<description>", nuspec, StringComparison.Ordinal);
        Assert.DoesNotContain("Package Description", nuspec, StringComparison.Ordinal);
        if (id != "KernelGen.Tool")
        {
            Assert.True(File.Exists(Path.Combine(packages.Feed, $"{id}.{packages.Version}.snupkg")));
        }
    }

    [Theory]
    [InlineData("KernelGen", "Microsoft.Extensions.Logging.Abstractions, System.Numerics.Tensors")]
    [InlineData("KernelGen.Inference", "KernelGen, System.Numerics.Tensors")]
    public void A_package_declares_the_packages_that_it_needs_and_no_other(string id, string needed)
    {
        using ZipArchive package = ZipFile.OpenRead(Path.Combine(packages.Feed, $"{id}.{packages.Version}.nupkg"));
        using Stream nuspec = package.GetEntry($"{id}.nuspec")!.Open();
        Assert.Equal(needed, string.Join(", ", XDocument.Load(nuspec).Descendants()
            .Where(static element => element.Name.LocalName == "dependency").Select(static dependency => dependency.Attribute("id")!.Value).Order(StringComparer.Ordinal)));
    }

    [Fact]
    public void A_class_is_annotated_built_and_multiplies()
    {
        string folder = packages.Consumer("Consumer");
        Packages.Run(folder, "build", "-c", "Release").AssertSuccess();
        Outcome outcome = Packages.Run(folder, "run", "-c", "Release", "--no-build").AssertSuccess();
        Assert.Equal(Expected, outcome.Output.Trim());
    }

    [Fact]
    public void A_checkpoint_is_loaded_in_int8_and_continues_a_text()
    {
        string folder = packages.Consumer("InferenceConsumer");
        Outcome outcome = Packages.Run(folder, "run", "-c", "Release", "--", RepositoryPaths.Model("opt-1.5m")).AssertSuccess();
        Assert.Equal(8, outcome.Output.Trim().Split(' ').Length);
        Assert.All(outcome.Output.Trim().Split(' '), id => Assert.True(int.Parse(id, System.Globalization.CultureInfo.InvariantCulture) >= 0));
    }

    [Fact]
    public void The_tool_is_installed_and_runs()
    {
        string folder = Path.Combine(packages.Folder, "tool");
        Packages.Run(packages.Folder, "tool", "install", "KernelGen.Tool", "--tool-path", folder, "--add-source", packages.Feed, "--version", packages.Version).AssertSuccess();
        Outcome outcome = Outcome.Of(Path.Combine(folder, "kernelgen"), packages.Folder, "kernels", "--json").AssertSuccess();
        Assert.Contains("int8_gemm_s8_s32", outcome.Output, StringComparison.Ordinal);
    }

    /// <summary>Trimmed and compiled ahead of time, without a warning: the consumer treats them as errors.</summary>
    [SkippableFact]
    public void A_native_executable_multiplies_the_same()
    {
        Skip.IfNot(OperatingSystem.IsLinux(), "NativeAOT is tried on Linux.");
        Skip.IfNot(HasProgram("clang") || HasProgram("gcc"), "NativeAOT needs clang or gcc to link, and neither is on the path.");
        string folder = packages.Consumer("Consumer");
        Outcome published = Packages.Run(folder, "publish", "-c", "Release", "-p:PublishAot=true", "-o", "native");
        Skip.If(published.Output.Contains("NU1101", StringComparison.Ordinal) || published.Output.Contains("NU1102", StringComparison.Ordinal), "The NativeAOT compiler's package is on no feed of this machine.");
        published.AssertSuccess();
        Outcome outcome = Outcome.Of(Path.Combine(folder, "native", "Consumer"), folder).AssertSuccess();
        Assert.Equal(Expected, outcome.Output.Trim());
    }

    private static bool HasProgram(string name) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .Any(folder => File.Exists(Path.Combine(folder, name)));
}
