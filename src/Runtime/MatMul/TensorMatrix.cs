using System.Globalization;
using System.Numerics.Tensors;

namespace KernelGen.MatMul;

/// <summary>The shape of a tensor of rank 2, [rows, features], whose rows are contiguous; they may lie apart.</summary>
/// <param name="Rows">The first length.</param>
/// <param name="Columns">The second length.</param>
/// <param name="RowStride">Elements from one row to the next, at least <paramref name="Columns"/>.</param>
internal readonly record struct TensorMatrix(int Rows, int Columns, nint RowStride)
{
    /// <summary>The shape of an argument.</summary>
    /// <exception cref="ArgumentException">It is no such tensor; the message has its shape and what to do.</exception>
    public static TensorMatrix Of<T>(in ReadOnlyTensorSpan<T> tensor, string name)
    {
        ReadOnlySpan<nint> lengths = tensor.Lengths, strides = tensor.Strides;
        if (tensor.Rank != 2)
        {
            throw new ArgumentException(
                $"'{name}' has the shape {Shape(lengths)}, a matrix [rows, features] was expected: bring it into one with Tensor.Reshape, leading dimensions as rows.", name);
        }

        if (lengths[0] > int.MaxValue || lengths[1] > int.MaxValue)
        {
            throw new ArgumentException($"'{name}' has the shape {Shape(lengths)}; a dimension has at most {int.MaxValue} elements: split it.", name);
        }

        int rows = (int)lengths[0], columns = (int)lengths[1];

        // A dimension of one element has the stride 0, which says nothing.
        nint rowStride = rows <= 1 ? columns : strides[0];
        return (columns <= 1 || strides[1] == 1) && rowStride >= columns
            ? new TensorMatrix(rows, columns, rowStride)
            : throw new ArgumentException(
                $"'{name}' has the shape {Shape(lengths)} with the strides {Shape(strides)}; the values of a row must lie side by side and rows apart: copy a transposed or broadcast tensor with Tensor.ToDenseTensor.",
                name);
    }

    /// <summary>Refuses another shape than this.</summary>
    public void Require(string name, int rows, int columns, string because)
    {
        if (Rows != rows || Columns != columns)
        {
            throw new ArgumentException($"'{name}' has the shape [{Rows}, {Columns}], [{rows}, {columns}] was expected: {because}.", name);
        }
    }

    private static string Shape(ReadOnlySpan<nint> values)
    {
        string[] texts = new string[values.Length];
        for (int i = 0; i < texts.Length; i++)
        {
            texts[i] = values[i].ToString(CultureInfo.InvariantCulture);
        }

        return $"[{string.Join(", ", texts)}]";
    }
}
