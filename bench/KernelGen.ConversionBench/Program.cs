using KernelGen.ConversionBench;

// Long runs that the test suite is too quick for; docs/benchmarks-conversion.md says how and shows what came out.
Arguments arguments = new(args);
try
{
    return arguments.Command switch
    {
        "generate" => SyntheticCheckpoint.Run(arguments),
        "measure" => Measurement.Run(arguments),
        "kill" => KillTrials.Run(arguments),
        "full" => FullDiskTrials.Run(arguments),
        _ => throw new ArgumentException("Commands: generate, measure, kill, full."),
    };
}
catch (ArgumentException exception)
{
    Console.Error.WriteLine(exception.Message);
    return 2;
}
