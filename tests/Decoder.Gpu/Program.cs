using KernelGen;
using KernelGen.Decoder.Gpu;

// check MODELS [NAME]   every check, or those whose name holds NAME, with the models of a folder: opt-1.5m, opt-30m-outliers, families/*
// sanitize MODELS [NAME]   a short generation of every family, or those whose name holds NAME, by every scheme, for compute-sanitizer
if (CudaDevice.Unavailable is { } reason)
{
    Console.Error.WriteLine(reason);
    return 2;
}

if (args is not ["check" or "sanitize", string models, ..])
{
    Console.Error.WriteLine("check MODELS [NAME] | sanitize MODELS");
    return 2;
}

CudaDevice device = CudaDevice.All[0];
Console.WriteLine(device);
DecoderSuite suite = new(device, models, Console.Out);
return args[0] == "sanitize" ? suite.RunBriefly(args.Length > 2 ? args[2] : "") : await suite.RunAsync(args.Length > 2 ? args[2] : "");
