using System.Text;
using System.Xml.Linq;
using Microsoft.CodeAnalysis;

namespace KernelGen.Docs.Tests.Reference;

/// <summary>A documentation comment in Markdown.</summary>
internal sealed record Documentation(
    string Summary,
    string Remarks,
    IReadOnlyList<(string Name, string Text)> Parameters,
    string Returns,
    IReadOnlyList<(string Type, string Text)> Exceptions)
{
    public string FirstParagraph => Summary.Split("\n\n")[0];
}

/// <summary>Turns documentation comments into Markdown.</summary>
/// <param name="files">The documentation files of the assemblies.</param>
/// <param name="linkTo">The page of a symbol by the id that comments have for it, or null.</param>
internal sealed class DocumentationText(IEnumerable<string> files, Func<string, string?> linkTo)
{
    private readonly Dictionary<string, XElement> _comments = files
        .SelectMany(static file => XDocument.Load(file, LoadOptions.PreserveWhitespace).Descendants("member"))
        .GroupBy(static member => (string)member.Attribute("name")!)
        .ToDictionary(static group => group.Key, static group => group.First());

    /// <summary>The comment of a symbol; where it inherits one, that one.</summary>
    public Documentation Of(ISymbol symbol)
    {
        XElement comment = Read(symbol) ?? new XElement("member");
        return new Documentation(
            Text(comment.Element("summary") ?? comment.Element("value")),
            Text(comment.Element("remarks")),
            [.. comment.Elements("param").Concat(comment.Elements("typeparam")).Select(element => ((string)element.Attribute("name")!, Text(element)))],
            Text(comment.Element("returns")),
            [.. comment.Elements("exception").Select(element => (Reference((string)element.Attribute("cref")!), Text(element)))]);
    }

    private XElement? Read(ISymbol symbol)
    {
        if (symbol.GetDocumentationCommentId() is { } id && _comments.TryGetValue(id, out XElement? comment))
        {
            return comment.Element("inheritdoc") is not { } inherited || comment.Element("summary") is not null ? comment
                : (string?)inherited.Attribute("cref") is { } cref ? _comments.GetValueOrDefault(cref)
                : Overridden(symbol) is { } source ? Read(source) : null;
        }

        // A record's parameters document the properties and the constructor that they make.
        IEnumerable<XElement> parameters = symbol.ContainingType?.GetDocumentationCommentId() is { } type && _comments.TryGetValue(type, out XElement? owner) ? owner.Elements("param") : [];
        return symbol switch
        {
            IPropertySymbol when parameters.FirstOrDefault(element => (string?)element.Attribute("name") == symbol.Name) is { } parameter =>
                new XElement("member", new XElement("summary", parameter.Nodes())),
            IMethodSymbol { MethodKind: MethodKind.Constructor } constructor => new XElement(
                "member",
                new XElement("summary", constructor.Parameters.Length == 0 ? "Makes one with the defaults." : "Makes one."),
                parameters.Where(element => constructor.Parameters.Any(parameter => parameter.Name == (string?)element.Attribute("name")))),
            _ => Overridden(symbol) is { } source ? Read(source) : null,
        };
    }

    private static ISymbol? Overridden(ISymbol symbol) => symbol switch
    {
        IMethodSymbol { OverriddenMethod: { } method } => method,
        IPropertySymbol { OverriddenProperty: { } property } => property,
        INamedTypeSymbol type => type.BaseType,
        _ => symbol.ContainingType.AllInterfaces.SelectMany(static contract => contract.GetMembers())
            .FirstOrDefault(member => SymbolEqualityComparer.Default.Equals(symbol.ContainingType.FindImplementationForInterfaceMember(member), symbol)),
    };

    private string Text(XElement? element)
    {
        if (element is null)
        {
            return "";
        }

        StringBuilder text = new();
        Append(text, element);
        string[] paragraphs = text.ToString().Split("\u0001");
        return string.Join("\n\n", paragraphs.Select(static paragraph => string.Join(' ', paragraph.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))).Where(static paragraph => paragraph.Length > 0));
    }

    private void Append(StringBuilder text, XElement element)
    {
        foreach (XNode node in element.Nodes())
        {
            switch (node)
            {
                case XText plain:
                    text.Append(plain.Value.Replace("<", "&lt;", StringComparison.Ordinal).Replace("*", "\\*", StringComparison.Ordinal).Replace("_", "\\_", StringComparison.Ordinal).Replace("[", "\\[", StringComparison.Ordinal));
                    break;
                case XElement { Name.LocalName: "c" or "code" } code:
                    text.Append($"`{code.Value}`");
                    break;
                case XElement { Name.LocalName: "paramref" or "typeparamref" } name:
                    text.Append($"`{(string?)name.Attribute("name")}`");
                    break;
                case XElement { Name.LocalName: "see" or "seealso" } see:
                    text.Append((string?)see.Attribute("langword") is { } word ? $"`{word}`"
                        : (string?)see.Attribute("href") is { } url ? $"[{(see.Value.Length > 0 ? see.Value : url)}]({url})"
                        : Reference((string)see.Attribute("cref")!));
                    break;
                case XElement { Name.LocalName: "para" } paragraph:
                    text.Append('\u0001');
                    Append(text, paragraph);
                    text.Append('\u0001');
                    break;
                case XElement { Name.LocalName: "item" } item:
                    text.Append("\u0001- ");
                    Append(text, item);
                    break;
                case XElement other:
                    Append(text, other);
                    break;
            }
        }
    }

    private string Reference(string id)
    {
        string full = id[2..].Split('(')[0].Split('`')[0];
        string[] parts = full.Split('.');
        string shown = id[0] == 'T' || parts.Length < 2 ? parts[^1] : parts[^1] == "#ctor" ? parts[^2] : $"{parts[^2]}.{parts[^1]}";
        return linkTo(id) is { } page ? $"[`{shown}`]({page})" : $"`{shown}`";
    }
}
