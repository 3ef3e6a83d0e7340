using System.Diagnostics;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xunit;

namespace KernelGen.Cli.Tests.Html;

/// <summary>
/// A headless Chromium with a page at a time, over the DevTools protocol: what the page logs and asks for is recorded, expressions are
/// evaluated in it, keys are pressed. Nothing is installed for it: a machine without a browser skips the tests.
/// </summary>
public sealed class Browser : IDisposable
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(60);

    private readonly string _profile = Directory.CreateTempSubdirectory("kernelgen-browser-").FullName;
    private readonly ClientWebSocket _socket = new();
    private Process? _process;
    private string? _target;
    private string? _session;
    private int _lastId;

    /// <summary>The browser's executable, from <c>KERNELGEN_BROWSER</c> or the path; null where there is none.</summary>
    public static string? Executable { get; } = Environment.GetEnvironmentVariable("KERNELGEN_BROWSER") is { Length: > 0 } named
        ? named
        : (from folder in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
           from name in (string[])["chromium", "chromium-browser", "google-chrome", "chrome.exe", "msedge.exe"]
           let path = Path.Combine(folder, name)
           where File.Exists(path)
           select path).FirstOrDefault();

    /// <summary>Errors and warnings of the page, exceptions, and what the browser refused to do.</summary>
    internal List<string> Problems { get; } = [];

    /// <summary>Every address that the page asked for.</summary>
    internal List<string> Requests { get; } = [];

    /// <summary>Opens a file in place of the page before it.</summary>
    /// <param name="file">The page.</param>
    /// <param name="width">The window's width in pixels.</param>
    /// <param name="dark">Whether the system prefers dark colours.</param>
    public void Open(string file, int width = 1200, bool dark = false)
    {
        if (_process is null)
        {
            Start();
        }

        if (_target is not null)
        {
            _session = null;
            Call("Target.closeTarget", new JsonObject { ["targetId"] = _target });
        }

        string context = Call("Target.createBrowserContext").GetProperty("browserContextId").GetString()!;
        _target = Call("Target.createTarget", new JsonObject { ["url"] = "about:blank", ["browserContextId"] = context }).GetProperty("targetId").GetString();
        _session = Call("Target.attachToTarget", new JsonObject { ["targetId"] = _target, ["flatten"] = true }).GetProperty("sessionId").GetString();
        Problems.Clear();
        Requests.Clear();
        Call("Page.enable");
        Call("Runtime.enable");
        Call("Log.enable");
        Call("Network.enable");
        Call("Emulation.setDeviceMetricsOverride", new JsonObject { ["width"] = width, ["height"] = 900, ["deviceScaleFactor"] = 1, ["mobile"] = false });
        Call("Emulation.setEmulatedMedia", new JsonObject
        {
            ["features"] = new JsonArray(new JsonObject { ["name"] = "prefers-color-scheme", ["value"] = dark ? "dark" : "light" }),
        });
        Call("Page.navigate", new JsonObject { ["url"] = new Uri(Path.GetFullPath(file)).AbsoluteUri });
        Evaluate("new Promise(done => document.readyState === 'complete' && location.protocol === 'file:' ? done() : addEventListener('load', done))");
        Settle();
    }

    /// <summary>Waits until the charts have followed a change.</summary>
    public void Settle() => Evaluate("new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() => done())), 50))");

    /// <summary>An expression's value; promises are awaited.</summary>
    public JsonElement Evaluate(string expression)
    {
        JsonElement answer = Call("Runtime.evaluate", new JsonObject { ["expression"] = expression, ["returnByValue"] = true, ["awaitPromise"] = true });
        return answer.TryGetProperty("exceptionDetails", out JsonElement failure)
            ? throw new InvalidOperationException($"{expression}: {failure}")
            : answer.GetProperty("result").TryGetProperty("value", out JsonElement value) ? value : default;
    }

    /// <summary>Presses and releases a key.</summary>
    public void Press(string key, int code, string? text = null)
    {
        foreach (string type in (string[])["keyDown", "keyUp"])
        {
            JsonObject press = new() { ["type"] = type, ["key"] = key, ["code"] = key, ["windowsVirtualKeyCode"] = code };
            if (type == "keyDown" && text is not null)
            {
                press["text"] = text;
            }

            Call("Input.dispatchKeyEvent", press);
        }

        Settle();
    }

    public void Dispose()
    {
        _socket.Dispose();
        if (_process is { HasExited: false })
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        _process?.Dispose();
        for (int attempt = 0; attempt < 20 && Directory.Exists(_profile); attempt++)
        {
            try
            {
                Directory.Delete(_profile, recursive: true);
            }
            catch (IOException)
            {
                // A helper process of the browser is still writing.
                Thread.Sleep(100);
            }
        }
    }

    private void Start()
    {
        const string Announcement = "DevTools listening on ";
        _process = Process.Start(new ProcessStartInfo(
            Executable!,
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0", $"--user-data-dir={_profile}", "about:blank"])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        })!;
        TaskCompletionSource<string> address = new();
        _process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is null)
            {
                address.TrySetException(new InvalidOperationException("The browser ended without a word."));
            }
            else if (line.Data.StartsWith(Announcement, StringComparison.Ordinal))
            {
                address.TrySetResult(line.Data[Announcement.Length..]);
            }
        };
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        _socket.ConnectAsync(new Uri(address.Task.WaitAsync(_patience).GetAwaiter().GetResult()), default).WaitAsync(_patience).GetAwaiter().GetResult();
    }

    /// <summary>Calls a method and records the events that come before its answer.</summary>
    private JsonElement Call(string method, JsonObject? parameters = null)
    {
        JsonObject message = new() { ["id"] = ++_lastId, ["method"] = method, ["params"] = parameters };
        if (_session is not null)
        {
            message["sessionId"] = _session;
        }

        using CancellationTokenSource patience = new(_patience);
        _socket.SendAsync(Encoding.UTF8.GetBytes(message.ToJsonString()), WebSocketMessageType.Text, true, patience.Token).GetAwaiter().GetResult();
        while (true)
        {
            JsonElement received = Receive(patience.Token);
            if (!received.TryGetProperty("id", out JsonElement id))
            {
                Record(received.GetProperty("method").GetString()!, received.GetProperty("params"));
            }
            else if (id.GetInt32() == _lastId)
            {
                return received.TryGetProperty("error", out JsonElement error)
                    ? throw new InvalidOperationException($"{method}: {error}")
                    : received.GetProperty("result");
            }
        }
    }

    private JsonElement Receive(CancellationToken patience)
    {
        using MemoryStream message = new();
        byte[] buffer = new byte[64 << 10];
        while (true)
        {
            WebSocketReceiveResult part = _socket.ReceiveAsync(buffer, patience).GetAwaiter().GetResult();
            message.Write(buffer, 0, part.Count);
            if (part.EndOfMessage)
            {
                return JsonElement.Parse(message.GetBuffer().AsSpan(0, (int)message.Length));
            }
        }
    }

    private void Record(string method, JsonElement parameters)
    {
        switch (method)
        {
            case "Runtime.exceptionThrown":
            case "Log.entryAdded":
            case "Page.javascriptDialogOpening":
            case "Runtime.consoleAPICalled" when parameters.GetProperty("type").GetString() is "error" or "warning" or "assert":
                Problems.Add($"{method}: {parameters}");
                break;
            case "Network.requestWillBeSent":
                Requests.Add(parameters.GetProperty("request").GetProperty("url").GetString()!);
                break;
        }
    }
}

/// <summary>The tests that share a browser, one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class SharedBrowser : ICollectionFixture<Browser>
{
    public const string Name = "browser";
}
