using KernelGen;
using KernelGen.Kernels.Ilgpu;

// devices                  what ILGPU finds
// suite [KIND]             the kernel suite on the first device of a kind (cpu, opencl, cuda); the best one by default
// bench SHAPES [KIND]      JSON lines per kernel, beside the CUDA target's where there is a CUDA device; SHAPES MxKxN,...
using IlgpuContext context = new();
if (args is ["devices"])
{
    foreach (IlgpuDevice found in context.Devices)
    {
        Console.WriteLine(found);
    }

    return 0;
}

string? kind = args is ["suite", string only] ? only : args is ["bench", _, string other] ? other : null;
IlgpuDevice? device = kind is null ? context.Best
    : context.Devices.FirstOrDefault(candidate => candidate.Remark is null && candidate.Kind.ToString().Equals(kind, StringComparison.OrdinalIgnoreCase));
if (device is null || args is not (["suite", ..] or ["bench", _, ..]))
{
    Console.Error.WriteLine(device is null ? $"ILGPU finds no usable device of kind {kind}." : "Use devices, suite [KIND] or bench SHAPES [KIND].");
    return 2;
}

Console.Error.WriteLine(device);
using IlgpuAccelerator accelerator = context.Open(device);
if (args is ["bench", string shapes, ..])
{
    foreach (string shape in shapes.Split(','))
    {
        int[] sizes = [.. shape.Split('x').Select(size => int.Parse(size, System.Globalization.CultureInfo.InvariantCulture))];
        IlgpuBench.Run(accelerator, sizes[0], sizes[1], sizes[2], Console.Out);
    }

    return 0;
}

IlgpuSuite suite = new(accelerator, Console.Error);
suite.Run();
foreach (string failure in suite.Failures.Take(50))
{
    Console.WriteLine(failure);
}

Console.WriteLine(
    $"{(suite.Failures.Count == 0 ? "all passed" : $"{suite.Failures.Count} failed")}: {suite.Comparisons} multiplications, {suite.Compared.Count} kernels, on {device}");
return suite.Failures.Count == 0 ? 0 : 1;
