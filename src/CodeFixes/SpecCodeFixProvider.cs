using System.Collections.Immutable;
using System.Composition;
using System.Globalization;
using KernelGen.Generator.Diagnostics;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Formatting;

namespace KernelGen.CodeFixes;

/// <summary>The fixes of an annotated class: for every rule whose message names one thing to do.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(SpecCodeFixProvider))]
[Shared]
public sealed class SpecCodeFixProvider : CodeFixProvider
{
    /// <inheritdoc/>
    public override ImmutableArray<string> FixableDiagnosticIds { get; } = ImmutableArray.Create(
        Descriptors.NotPartial.Id,
        Descriptors.TileOutOfRange.Id,
        Descriptors.InvalidThreshold.Id,
        Descriptors.FileLocal.Id,
        Descriptors.EmptyTileList.Id,
        Descriptors.UnusedThreshold.Id,
        Descriptors.UnreachableThreshold.Id);

    /// <inheritdoc/>
    public override FixAllProvider GetFixAllProvider() => WellKnownFixAllProviders.BatchFixer;

    /// <inheritdoc/>
    public override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        SyntaxNode? root = await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false);
        SemanticModel? model = await context.Document.GetSemanticModelAsync(context.CancellationToken).ConfigureAwait(false);
        if (root is null || model is null)
        {
            return;
        }

        foreach (Diagnostic diagnostic in context.Diagnostics)
        {
            SyntaxNode place = root.FindNode(diagnostic.Location.SourceSpan, getInnermostNodeForTie: true);
            if (Fix(diagnostic, place, model, context.CancellationToken) is { } fix)
            {
                Document document = context.Document;
                context.RegisterCodeFix(
                    CodeAction.Create(fix.Title, _ => Task.FromResult(document.WithSyntaxRoot(fix.Apply(root))), diagnostic.Id),
                    diagnostic);
            }
        }
    }

    private static (string Title, Func<SyntaxNode, SyntaxNode> Apply)? Fix(Diagnostic diagnostic, SyntaxNode place, SemanticModel model, CancellationToken cancellationToken)
    {
        if (place.FirstAncestorOrSelf<TypeDeclarationSyntax>() is { } type)
        {
            if (diagnostic.Id == Descriptors.NotPartial.Id)
            {
                return ($"Make '{type.Identifier.ValueText}' partial", root => root.ReplaceNode(type, WithPartial(type)));
            }

            if (diagnostic.Id == Descriptors.FileLocal.Id)
            {
                return ($"Make '{type.Identifier.ValueText}' internal", root => root.ReplaceNode(type, WithoutFile(type)));
            }
        }

        if (place.FirstAncestorOrSelf<AttributeArgumentSyntax>() is not { NameEquals.Name.Identifier.ValueText: { } name } argument)
        {
            return null;
        }

        if (diagnostic.Id == Descriptors.TileOutOfRange.Id)
        {
            return NearestTile(diagnostic, argument, model, cancellationToken);
        }

        return diagnostic.Id == Descriptors.InvalidThreshold.Id || diagnostic.Id == Descriptors.UnreachableThreshold.Id
            ? ("Use the paper's threshold, 6", root => root.ReplaceNode(argument.Expression, Number(Int8Spec.DefaultOutlierThreshold).WithTriviaFrom(argument.Expression)))
            : ($"Remove {name}", root => Without(root, argument));
    }

    /// <summary>Replaces the elements that have the reported value.</summary>
    private static (string Title, Func<SyntaxNode, SyntaxNode> Apply)? NearestTile(
        Diagnostic diagnostic, AttributeArgumentSyntax argument, SemanticModel model, CancellationToken cancellationToken)
    {
        if (!diagnostic.Properties.TryGetValue(Int8KernelAnalyzer.ValueProperty, out string? text) || !Parses(text, out int value)
            || !diagnostic.Properties.TryGetValue(Int8KernelAnalyzer.NearestProperty, out string? nearestText) || !Parses(nearestText, out int nearest))
        {
            return null;
        }

        ExpressionSyntax[] elements = [.. Elements(argument.Expression)
            .Where(element => model.GetConstantValue(element, cancellationToken) is { HasValue: true, Value: int constant } && constant == value)];
        return elements.Length == 0 ? null
            : ($"Use {nearestText}, the nearest tile size", root => root.ReplaceNodes(elements, (element, _) => Number(nearest).WithTriviaFrom(element)));
    }

    private static IEnumerable<ExpressionSyntax> Elements(ExpressionSyntax list) => list switch
    {
        CollectionExpressionSyntax collection => collection.Elements.OfType<ExpressionElementSyntax>().Select(element => element.Expression),
        ArrayCreationExpressionSyntax { Initializer.Expressions: var expressions } => expressions,
        ImplicitArrayCreationExpressionSyntax { Initializer.Expressions: var expressions } => expressions,
        _ => [],
    };

    private static bool Parses(string? text, out int value) => int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);

    private static LiteralExpressionSyntax Number(int value) => SyntaxFactory.LiteralExpression(SyntaxKind.NumericLiteralExpression, SyntaxFactory.Literal(value));

    private static LiteralExpressionSyntax Number(float value) => SyntaxFactory.LiteralExpression(
        SyntaxKind.NumericLiteralExpression, SyntaxFactory.Literal(value.ToString(CultureInfo.InvariantCulture) + "f", value));

    /// <summary>partial stands right before the keyword; the first token's leading trivia stay first.</summary>
    private static TypeDeclarationSyntax WithPartial(TypeDeclarationSyntax type)
    {
        SyntaxToken partial = SyntaxFactory.Token(SyntaxKind.PartialKeyword).WithTrailingTrivia(SyntaxFactory.Space);
        if (type.Modifiers.Count > 0)
        {
            return type.AddModifiers(partial);
        }

        return type.WithKeyword(type.Keyword.WithLeadingTrivia()).WithModifiers(SyntaxFactory.TokenList(partial.WithLeadingTrivia(type.Keyword.LeadingTrivia)));
    }

    private static TypeDeclarationSyntax WithoutFile(TypeDeclarationSyntax type)
    {
        SyntaxToken file = type.Modifiers.First(modifier => modifier.IsKind(SyntaxKind.FileKeyword));
        return type.WithModifiers(type.Modifiers.Replace(file, SyntaxFactory.Token(SyntaxKind.InternalKeyword).WithTriviaFrom(file)));
    }

    /// <summary>Without the argument, and without parentheses where it was the only one.</summary>
    private static SyntaxNode Without(SyntaxNode root, AttributeArgumentSyntax argument)
    {
        AttributeArgumentListSyntax list = (AttributeArgumentListSyntax)argument.Parent!;
        return list.Arguments.Count == 1
            ? root.RemoveNode(list, SyntaxRemoveOptions.KeepNoTrivia)!
            : root.ReplaceNode(list, list.WithArguments(list.Arguments.Remove(argument)).WithAdditionalAnnotations(Formatter.Annotation));
    }
}
