using System.Globalization;
using System.Runtime.InteropServices;
using KernelGen.Generator.Planning.Cuda;

namespace KernelGen.Generator.Emit.Cuda.Decoder;

/// <summary>What all decoder kernels begin and end with.</summary>
internal static class DecoderFrame
{
    /// <summary>Header, entry point with a parameter block, and the permission for the next kernel to start.</summary>
    /// <typeparam name="T">The parameter block.</typeparam>
    /// <param name="plan">The kernel.</param>
    /// <param name="maxThreads">Most threads of a block.</param>
    /// <param name="dynamicShared">Whether it has dynamic shared memory.</param>
    /// <param name="tensorMaps">TMA descriptors ahead of the parameter block: <c>paramMap0</c>, ...</param>
    public static PtxWriter Begin<T>(DecoderKernelPlan plan, int maxThreads, bool dynamicShared = false, int tensorMaps = 0)
    {
        PtxWriter ptx = new();
        string maps = string.Concat(PtxRegisters.Names("paramMap", tensorMaps).Select(name => $".param .align 64 .b8 {name}[128], "));
        return ptx.Add($$"""
            .version {{(plan.Body.IsArchitectureSpecific ? "8.0" : plan.Body.IsHopper ? "7.8" : "7.4")}}
            .target sm_{{plan.Capability.ToString(CultureInfo.InvariantCulture)}}{{(plan.Body.IsArchitectureSpecific ? "a" : "")}}
            .address_size 64
            {{(dynamicShared ? ".extern .shared .align 16 .b8 dynamicShared[];" : "")}}
            .visible .entry {{plan.Name}}({{maps}}.param .align 8 .b8 args[{{Marshal.SizeOf<T>().ToString(CultureInfo.InvariantCulture)}}])
            .maxntid {{maxThreads.ToString(CultureInfo.InvariantCulture)}}, 1, 1
            {
            """);
    }

    /// <summary>Lets the next kernel start. It waits itself before it touches what this one writes.</summary>
    public static PtxWriter LaunchNext(this PtxWriter ptx, DecoderKernelPlan plan) =>
        plan.Body.IsHopper ? ptx.Add("griddepcontrol.launch_dependents;") : ptx;

    /// <summary>
    /// Waits for the kernels ahead. Every thread of a decoder's kernel comes here, also one that has nothing to do, and some of every block of a product: that a
    /// kernel has ended must mean that all before it have.
    /// </summary>
    public static PtxWriter WaitForPrevious(this PtxWriter ptx, DecoderKernelPlan plan) =>
        plan.Body.IsHopper ? ptx.Add("griddepcontrol.wait;") : ptx;

    public static string End(this PtxWriter ptx) => ptx.Add("""
        DONE:
        ret;
        }
        """).ToString();
}
