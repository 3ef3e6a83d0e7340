using KernelGen;
using KernelGen.Backends.Cuda;
using KernelGen.Kernels.Gpu;
using KernelGen.Kernels.Specs;

// suite [PART]               run the kernel suite on the first device, or those parts of it whose names begin with PART: "layers SET" several rows by a kernel set,
//                            "rows SET" single rows, "decoder STEP", "failures" what is refused, "host" the multiplication of host memory
// prove FILE                 run the suite and, if all passed, write the list of proven kernels
// lost                       what becomes of a lost device alone; suite and prove end with it
// sanitize [PART]            every kernel briefly, for compute-sanitizer
// bench-decoder [NAME]       microseconds of every decoder kernel in the shape of OPT-6.7B, or of those whose name holds NAME
// bench-layer                microseconds of a layer of that shape for one row, and how its parts add up
// bench OP SHAPES [POLICY] [OUTLIERS] [all]   JSON lines; OP quantize, int8-gemm or llm-int8, SHAPES MxKxN,..., POLICY Columns,
//                            Elements or None; all: every variant instead of the fastest
// ptx FOLDER                 every kernel's text to a file of its name, for ptxas and cuobjdump; needs no GPU
if (args is ["ptx", string folder])
{
    Directory.CreateDirectory(folder);
    foreach (CudaKernelVariant variant in ProofList.Variants)
    {
        File.WriteAllBytes(Path.Combine(folder, variant.Name + ".ptx"), variant.Ptx().ToArray());
    }

    return 0;
}

// await FILE                 list every kernel that is not proven as awaiting a run; needs no GPU
if (args is ["await", string list])
{
    ProofList.Await(list);
    return 0;
}

if (CudaDevice.Unavailable is { } reason)
{
    Console.Error.WriteLine(reason);
    return 2;
}

CudaDevice device = CudaDevice.All[0];
Console.Error.WriteLine(device);
if (args is ["bench", string op, string shapes, ..])
{
    Int8KernelSet set = (args.Length > 3 ? args[3] : "Columns") switch
    {
        "None" => AbsmaxVector.Kernels,
        "Elements" => LlmInt8Elements.Kernels,
        _ => LlmInt8.Kernels,
    };
    int outliers = args.Length > 4 ? int.Parse(args[4], System.Globalization.CultureInfo.InvariantCulture) : 6;
    using CudaBenchmark benchmark = new(device, set);
    foreach (string shape in shapes.Split(','))
    {
        int[] sizes = [.. shape.Split('x').Select(size => int.Parse(size, System.Globalization.CultureInfo.InvariantCulture))];
        IEnumerable<CudaBenchmarkResult> results = benchmark.RunAll(op, sizes[0], sizes[1], sizes[2], outliers).OrderBy(result => result.MicrosecondsMedian);
        foreach (CudaBenchmarkResult result in args.Contains("all") ? results : results.Take(1))
        {
            Console.WriteLine(result.ToJson());
        }
    }

    return 0;
}

if (args is ["bench-decoder", ..])
{
    using DecoderBenchmark benchmark = new(device);
    benchmark.Run(Console.Out, args.Length > 1 ? args[1] : "");
    return 0;
}

if (args is ["bench-layer"])
{
    using LayerBenchmark benchmark = new(device);
    benchmark.Run(Console.Out);
    return 0;
}

if (args is not ([] or ["suite"] or ["suite", _] or ["sanitize"] or ["sanitize", _] or ["prove", _] or ["lost"]))
{
    Console.Error.WriteLine($"'{string.Join(' ', args)}' is no command; the top of tests/Kernels.Gpu/Program.cs lists them.");
    return 2;
}

List<string> failures = [];
if (args is not ["lost"])
{
    using CudaSuite suite = new(device, Console.Error, failures);
    if (args is ["sanitize", ..])
    {
        suite.RunBriefly(args.Length > 1 ? args[1] : "");
    }
    else
    {
        suite.Run(args is ["suite", string part] ? part : "");
    }
}

if (args is [] or ["suite"] or ["prove", ..] or ["lost"])
{
    LostDeviceChecks.Run(device, Console.Error, failures);
}

foreach (string failure in failures.Take(50))
{
    Console.WriteLine(failure);
}

Console.WriteLine($"{(failures.Count == 0 ? "all passed" : $"{failures.Count} failed")} on {device}");
if (failures.Count == 0 && args is ["prove", string path])
{
    ProofList.Prove(path, device);
}

return failures.Count == 0 ? 0 : 1;
