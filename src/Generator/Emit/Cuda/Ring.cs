namespace KernelGen.Generator.Emit.Cuda;

/// <summary>The ring of shared-memory stages that TMA fills.</summary>
internal static class Ring
{
    /// <summary>To the next stage, and with every lap to the other phase of its barriers: the registers <c>stage</c> and <c>phase</c>.</summary>
    public static void NextStage(PtxWriter ptx, int stages)
    {
        string same = ptx.Label("SAME_LAP");
        ptx.Add($"""
            add.u32 stage, stage, 1;
            setp.ne.u32 wraps, stage, {stages};
            @wraps bra {same};
            mov.u32 stage, 0;
            xor.b32 phase, phase, 1;
            {same}:
            """);
    }
}
