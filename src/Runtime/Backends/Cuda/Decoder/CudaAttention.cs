namespace KernelGen.Backends.Cuda;

/// <summary>
/// Where the heads of queries, keys or values lie in an f16 matrix: head h of row r begins at element <c>r * RowStride + h * HeadStride</c> of
/// Address. A fused projection's output needs no copy to be taken apart. Address a multiple of 16, strides of 8.
/// </summary>
internal readonly record struct CudaHeads(ulong Address, int RowStride, int HeadStride);

/// <summary>One layer's keys and values of all sequences, in pages of <see cref="DecoderRow.PageSize"/> positions.</summary>
/// <param name="Keys">f16 [pages][key-value heads][64][head size].</param>
/// <param name="Values">The same. What lies beyond a sequence's length is never read as a number: pages need no clearing.</param>
/// <param name="PageTable">u32 [sequences][MaxPages]: position p of sequence s is in page number <c>PageTable[s][p / 64]</c>. All layers may share one.</param>
/// <param name="MaxPages">Entries of a line.</param>
/// <param name="Count">Pages that there are.</param>
internal readonly record struct CudaKeyValuePages(ulong Keys, ulong Values, ulong PageTable, int MaxPages, int Count);

/// <summary>One layer's keys and values in int8, in the pages of a <see cref="CudaKeyValuePages"/>: every position of a head has a step of its own.</summary>
/// <param name="Keys">s8 [pages][key-value heads][64][head size].</param>
/// <param name="Values">The same.</param>
/// <param name="KeySteps">f32 [pages][key-value heads][64].</param>
/// <param name="ValueSteps">The same.</param>
internal readonly record struct CudaInt8Pages(ulong Keys, ulong Values, ulong KeySteps, ulong ValueSteps);

/// <summary>What attention needs to know of a layer beside its operands.</summary>
/// <param name="Heads">Heads of queries.</param>
/// <param name="KeyValueHeads">Heads of keys and values; each serves <c>Heads / KeyValueHeads</c> neighbouring heads of queries.</param>
/// <param name="HeadSize">Width of a head, one of <see cref="CudaDecoderKernels.HeadSizes"/>.</param>
/// <param name="Scale">Factor of the scores.</param>
/// <param name="Window">The last positions that a query attends to, its own among them; 0 for all.</param>
/// <param name="Slopes">ALiBi: f32 [Heads] on the device, what a score falls by per position between key and query; or 0.</param>
internal readonly record struct CudaAttentionShape(int Heads, int KeyValueHeads, int HeadSize, float Scale, int Window = 0, ulong Slopes = 0);

/// <summary>Angles by which queries and keys are turned.</summary>
/// <param name="Table">f32 [positions][Pairs][2] on the device: cosine and sine of <c>position * frequency</c>; 0 where nothing is turned.</param>
/// <param name="Pairs">n: the pair (i, i + n) of a head's first 2n dimensions is turned together, the others stay. At most half a head.</param>
internal readonly record struct CudaRotary(ulong Table, int Pairs);

/// <summary>Queries of one sequence at neighbouring positions, as the prefill attention reads them from device memory.</summary>
/// <param name="FirstRow">The row of the first query.</param>
/// <param name="Rows">How many, at most <see cref="DecoderRow.TileQueries"/>; 0 where a step has fewer tiles than its graph.</param>
/// <param name="Sequence">Its line of the page table.</param>
/// <param name="FirstPosition">The first query's position; the others follow.</param>
internal readonly record struct CudaAttentionTile(uint FirstRow, uint Rows, uint Sequence, uint FirstPosition);
