namespace KernelGen.Kernels.Gpu;

/// <summary>
/// Activations whose outliers lie in few columns, where tensor cores sum them: as many as they take and one more, sums that are exact and that are not, values that a
/// half holds and that it doesn't.
/// </summary>
internal static class OutlierPatterns
{
    /// <summary>Their names, and how many columns have outliers. Uneven rows' sums are not exact in float32, in 16-bit types of both kinds.</summary>
    public static IReadOnlyList<(string Name, int Columns)> All { get; } =
    [
        ("none", 0),
        ("one column", 1),
        ("six columns", 6),
        ("eight columns", 8),
        ("nine columns", 9),
        ("forty columns", 40),
        ("at the threshold", 7),
        ("some rows", 5),
        ("a row's largest value", 6),
        ("a large row", 6),
        ("large rows", 6),
        ("a tiny value", 3),
        ("an uneven row", 6),
        ("uneven rows", 6),
        ("beyond float16", 4),
    ];

    /// <summary>Activations [rows, k].</summary>
    public static float[] Draw((string Name, int Columns) pattern, int rows, int k, float threshold, int seed)
    {
        Random random = new(seed);
        float[] a = new float[rows * k];
        for (int i = 0; i < a.Length; i++)
        {
            a[i] = ((random.NextSingle() * 2) - 1) * 0.9f * threshold;
        }

        for (int row = 0; row < rows; row++)
        {
            for (int j = 0; j < pattern.Columns; j++)
            {
                // The first and the last column of the matrix are among them.
                int column = pattern.Columns == 1 ? k - 1 : j * (k - 1) / (pattern.Columns - 1);
                float magnitude = pattern.Name switch
                {
                    "at the threshold" => threshold,
                    "a row's largest value" when row % 3 == 1 => 0.95f * threshold,
                    "a large row" when row == rows / 2 => 100 * threshold,
                    "large rows" => (50 + (50 * random.NextSingle())) * threshold,
                    "an uneven row" when row == rows / 2 && j == 2 => 30000 + (1000 * random.NextSingle()),
                    "uneven rows" when j == 2 => 30000 + (1000 * random.NextSingle()),
                    "an uneven row" or "uneven rows" => (1 + random.NextSingle()) * threshold,
                    "beyond float16" when row == rows / 4 => 1e5f,
                    _ => (1 + (9 * random.NextSingle())) * threshold,
                };
                bool isLeft = pattern.Name switch { "some rows" => random.Next(3) != 0, "a row's largest value" => row % 3 == 2 || (row % 3 == 1 && j != row % pattern.Columns), _ => false };
                if (!isLeft)
                {
                    a[(row * k) + column] = random.Next(2) == 0 ? magnitude : -magnitude;
                }

                if (pattern.Name == "a tiny value" && row == rows / 3)
                {
                    a[(row * k) + column] = 1.1e-7f;
                }
            }
        }

        return a;
    }
}
