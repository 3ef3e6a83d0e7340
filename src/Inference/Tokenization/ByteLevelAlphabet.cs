namespace KernelGen.Inference.Tokenization;

/// <summary>
/// GPT-2's bijection between bytes and printable characters, in which byte-level vocabularies are written: visible Latin-1 characters
/// stand for themselves, the other 68 bytes for U+0100 and up in order (a space is <c>Ġ</c>).
/// </summary>
internal static class ByteLevelAlphabet
{
    private static readonly char[] Characters = BuildCharacters();
    private static readonly short[] Bytes = BuildBytes();

    /// <summary>The character for a byte.</summary>
    public static char ToCharacter(byte value) => Characters[value];

    /// <summary>
    /// The bytes that a token stands for. A token with any character outside of the alphabet, as an added token may have, stands for
    /// its own UTF-8 bytes.
    /// </summary>
    public static byte[] ToBytes(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            int value = token[i] < Bytes.Length ? Bytes[token[i]] : -1;
            if (value < 0)
            {
                return System.Text.Encoding.UTF8.GetBytes(token);
            }

            bytes[i] = (byte)value;
        }

        return bytes;
    }

    private static char[] BuildCharacters()
    {
        char[] characters = new char[256];
        int next = 256;
        for (int value = 0; value < characters.Length; value++)
        {
            // Space, controls, the no-break space and the soft hyphen cannot be seen in a file.
            bool visible = value is (>= '!' and <= '~') or (>= '\u00A1' and <= '\u00AC') or (>= '\u00AE' and <= '\u00FF');
            characters[value] = (char)(visible ? value : next++);
        }

        return characters;
    }

    private static short[] BuildBytes()
    {
        short[] bytes = new short[Characters.Max() + 1];
        Array.Fill(bytes, (short)-1);
        for (int value = 0; value < Characters.Length; value++)
        {
            bytes[Characters[value]] = (short)value;
        }

        return bytes;
    }
}
