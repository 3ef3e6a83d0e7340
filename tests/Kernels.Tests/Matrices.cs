namespace KernelGen.Kernels.Tests;

/// <summary>Inputs and their shapes for tests.</summary>
internal static class Matrices
{
    /// <summary>Normally distributed values.</summary>
    public static float[,] Normal(Random random, int rows, int columns, float deviation = 1)
    {
        float[,] matrix = new float[rows, columns];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++)
            {
                double u = 1 - random.NextDouble(), v = random.NextDouble();
                matrix[i, j] = deviation * (float)(Math.Sqrt(-2 * Math.Log(u)) * Math.Cos(2 * Math.PI * v));
            }
        }

        return matrix;
    }

    /// <summary>Activations with large values in some columns, as layer norms of large models have.</summary>
    public static float[,] WithOutlierColumns(Random random, int rows, int columns, int outliers)
    {
        float[,] matrix = Normal(random, rows, columns);
        foreach (int column in Enumerable.Range(0, columns).OrderBy(_ => random.Next()).Take(outliers))
        {
            for (int i = 0; i < rows; i++)
            {
                matrix[i, column] = 20 + (10 * random.NextSingle());
            }
        }

        return matrix;
    }

    /// <summary>Row-major values, with a stride of at least the number of columns; the gaps hold NaN, which must never be read.</summary>
    public static float[] Flatten(float[,] matrix, int? stride = null)
    {
        int rows = matrix.GetLength(0), columns = matrix.GetLength(1), step = stride ?? columns;
        float[] values = new float[rows == 0 ? 0 : ((rows - 1) * step) + columns];
        Array.Fill(values, float.NaN);
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++)
            {
                values[(i * step) + j] = matrix[i, j];
            }
        }

        return values;
    }

    public static T[] Convert<T>(float[] values) => typeof(T) == typeof(Half)
        ? (T[])(object)Array.ConvertAll(values, x => (Half)x)
        : typeof(T) == typeof(BFloat16)
            ? (T[])(object)Array.ConvertAll(values, x => (BFloat16)x)
            : (T[])(object)values;

    public static float[] Widen<T>(T[] values) => typeof(T) == typeof(Half)
        ? Array.ConvertAll((Half[])(object)values, x => (float)x)
        : typeof(T) == typeof(BFloat16)
            ? Array.ConvertAll((BFloat16[])(object)values, x => (float)x)
            : (float[])(object)values;

    public static float[,] Shape(float[] values, int rows, int columns)
    {
        float[,] matrix = new float[rows, columns];
        Buffer.BlockCopy(values, 0, matrix, 0, rows * columns * sizeof(float));
        return matrix;
    }
}
