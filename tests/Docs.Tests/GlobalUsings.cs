global using Xunit;

// Examples set the current folder and the console, which a process has once.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
