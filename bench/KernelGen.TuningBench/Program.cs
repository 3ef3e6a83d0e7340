using KernelGen.TuningBench;

// compare [DEVICE] [FOLDER] [SHAPES]   DEVICE cpu or cuda:0; writes a table, and into FOLDER the lines behind it and the records
// stress [ROUNDS] [PROCESSES] [SEED]   processes that store records and are killed; what they finished must be there
return args switch
{
    ["compare", .. string[] rest] => Comparison.Run(rest.ElementAtOrDefault(0) ?? "cpu", rest.ElementAtOrDefault(1), rest.ElementAtOrDefault(2)),
    ["stress", .. string[] rest] => KillTrials.Run(Number(rest, 0, 200), Number(rest, 1, 10), Number(rest, 2, 1)),
    ["store", string folder, string round, string worker] => KillTrials.Store(folder, int.Parse(round), int.Parse(worker)),
    _ => Usage(),
};

static int Number(string[] arguments, int index, int otherwise) => index < arguments.Length ? int.Parse(arguments[index]) : otherwise;

static int Usage()
{
    Console.Error.WriteLine("compare [DEVICE] [FOLDER] [SHAPES] | stress [ROUNDS] [PROCESSES] [SEED]");
    return 2;
}
