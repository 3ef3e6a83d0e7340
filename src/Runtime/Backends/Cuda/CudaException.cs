using System.Globalization;

namespace KernelGen;

/// <summary>A call of the CUDA driver failed.</summary>
public sealed class CudaException : Exception
{
    /// <summary>Wraps a driver error.</summary>
    /// <param name="call">The driver function.</param>
    /// <param name="code">Its CUresult.</param>
    /// <param name="text">The driver's name and text for the code.</param>
    /// <param name="detail">What was attempted and what may help; or null.</param>
    internal CudaException(string call, int code, string text, string? detail = null)
        : base(string.Create(CultureInfo.InvariantCulture, $"{call} failed with {code} ({text}).{Remedy(code)}{(detail is null ? "" : " " + detail)}"))
    {
        Call = call;
        Code = code;
    }

    /// <summary>The driver function that failed.</summary>
    public string Call { get; }

    /// <summary>The CUresult.</summary>
    public int Code { get; }

    /// <summary>Whether the device is lost to this process: every later call on it fails too.</summary>
    public bool IsDeviceLost => IsLoss(Code);

    private static bool IsLoss(int code) => code is 46 or 214 or 700 or 702 or 710 or (>= 714 and <= 719);

    private static string Remedy(int code) => code switch
    {
        2 => " The device is out of memory: use a smaller batch, free weights, or another device.",
        35 => " The NVIDIA driver is older than this program needs: update it.",
        46 => " The device is held by another process, or lost to this one.",
        _ when IsLoss(code) => " The device is lost to this process, which must be restarted to use it again.",
        _ => "",
    };
}
