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

    /// <summary>Whether the device's context is lost, so that every later call of this process on the device fails too.</summary>
    public bool IsDeviceLost => Code is 214 or (>= 700 and <= 720 and not 701 and not 704 and not 705 and not 708 and not 709 and not 712 and not 713) or 46;

    private static string Remedy(int code) => code switch
    {
        2 => " The device is out of memory: use a smaller batch, free weights, or another device.",
        35 => " The NVIDIA driver is older than this program needs: update it.",
        700 or 715 or 716 or 717 or 718 or 719 => " The device's context is lost: restart the process.",
        _ => "",
    };
}
