using System.CommandLine;
using KernelGen.Cli.Devices;
using KernelGen.Cli.Errors;
using KernelGen.Cli.Options;
using KernelGen.Cli.Output;
using Spectre.Console;

namespace KernelGen.Cli.Commands;

/// <summary><c>kernelgen devices</c>: what there is to compute on. Each kind of device has a method to show it and one to write it.</summary>
internal static class DevicesCommand
{
    public static Command Create(CommandContext context)
    {
        Option<bool> json = SharedOptions.Json("One JSON object per device and line.");
        Command command = new("devices", "Shows what this machine has to compute on.") { json };
        command.SetAction(parsed =>
        {
            CpuDevice cpu = CpuDevice.Describe();
            if (parsed.GetValue(json))
            {
                WriteCpu(context, cpu);
                foreach (CudaDevice device in CudaDevice.All)
                {
                    WriteCuda(context, device);
                }
            }
            else
            {
                ShowCpu(context, cpu);
                ShowCuda(context);

                // ILGPU's own devices are seen by programs that reference it; this tool does not.
                context.Sentence("ilgpu: not in this tool. Other GPUs (OpenCL) are reached by a project that references ILGPU and KernelGen.Runtime.Ilgpu, see samples/Ilgpu.");
            }

            return ExitCodes.Ok;
        });
        return command;
    }

    private static void WriteCpu(CommandContext context, CpuDevice cpu) => JsonLine.Write(context.Output, writer =>
    {
        writer.WriteString("device", "cpu");
        writer.WriteString("name", cpu.Name);
        writer.WriteString("architecture", cpu.Architecture);
        writer.WriteNumber("logical_processors", cpu.LogicalProcessors);
        writer.WriteNumber("memory_bytes", cpu.MemoryBytes);
        writer.WriteStrings("instruction_sets", cpu.InstructionSets.Where(static set => set.Available).Select(static set => set.Name));
        writer.WriteString("preferred", cpu.InstructionSets.First(static set => set.Preferred).Name);
    });

    private static void WriteCuda(CommandContext context, CudaDevice device) => JsonLine.Write(context.Output, writer =>
    {
        writer.WriteString("device", $"cuda:{device.Ordinal}");
        writer.WriteString("name", device.Name);
        writer.WriteString("uuid", device.Uuid);
        writer.WriteNumber("compute_capability", device.ComputeCapability);
        writer.WriteNumber("multiprocessors", device.Multiprocessors);
        writer.WriteNumber("memory_bytes", device.MemoryBytes);
        writer.WriteNumber("driver_version", device.DriverVersion);
    });

    private static void ShowCuda(CommandContext context)
    {
        if (CudaDevice.Unavailable is { } reason)
        {
            context.Sentence($"cuda: none. {reason}");
            return;
        }

        foreach (CudaDevice device in CudaDevice.All)
        {
            context.Sentence(
                $"cuda:{device.Ordinal}: {device.Name}, sm_{device.ComputeCapability}, {device.Multiprocessors} multiprocessors, {Numbers.Bytes(device.MemoryBytes)} memory");
        }
    }

    private static void ShowCpu(CommandContext context, CpuDevice cpu)
    {
        context.Sentence($"cpu: {cpu.Name}");
        context.Sentence($"{cpu.Architecture}, {cpu.LogicalProcessors} logical processors, {Numbers.Bytes(cpu.MemoryBytes)} memory");
        Table table = Report.CreateTable(context, "instruction set", "needs", "here");
        foreach (CpuInstructionSetState set in cpu.InstructionSets)
        {
            table.AddCells(
                Report.StyleOf(set.Available), set.Name, set.Needs, !set.Available ? "no" : set.Preferred ? "yes, preferred" : "yes");
        }

        context.Show(table);
    }
}
