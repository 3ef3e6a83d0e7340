using Spectre.Console;

namespace KernelGen.Cli.Output;

/// <summary>Progress bars with the time left, on standard error; nothing at all where that is no terminal or the output is for programs.</summary>
internal sealed class ProgressBars
{
    private readonly ProgressContext? _bars;

    private ProgressBars(ProgressContext? bars) => _bars = bars;

    /// <summary>Does work that reports its progress.</summary>
    /// <param name="context">Where the bars are shown.</param>
    /// <param name="silent">Shows none.</param>
    /// <param name="work">The work; it starts bars and reports to them.</param>
    public static T Run<T>(CommandContext context, bool silent, Func<ProgressBars, T> work) =>
        silent || !context.ErrorIsTerminal
            ? work(new ProgressBars(null))
            : context.ErrorConsole.Progress()
                .AutoClear(true)
                .Columns(
                    new SpinnerColumn(),
                    new TaskDescriptionColumn { Alignment = Justify.Left },
                    new ProgressBarColumn(),
                    new PercentageColumn(),
                    new RemainingTimeColumn())
                .Start(bars => work(new ProgressBars(bars)));

    /// <summary>Adds a bar.</summary>
    public ProgressReporter Start(string description) => new(_bars?.AddTask(Markup.Escape(description), maxValue: 1));
}

/// <summary>One bar, from 0 to 1; any thread may report to it.</summary>
internal sealed class ProgressReporter(ProgressTask? bar) : IProgress<double>
{
    /// <summary>Says what is going on now.</summary>
    public void Describe(string description) => bar?.Description(Markup.Escape(description));

    /// <inheritdoc/>
    public void Report(double value)
    {
        if (bar is not null)
        {
            bar.Value = value;
        }
    }
}
