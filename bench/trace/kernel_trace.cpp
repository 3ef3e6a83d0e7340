// Writes a line for every kernel that ran, those of CUDA graphs one by one: start and end in ns, blocks, threads, bytes of shared memory, stream, name with registers.
// A library that the driver loads into any program (CUDA_INJECTION64_PATH); KERNEL_RECORD is the toolkit's newest CUpti_ActivityKernelN.
#include <cupti.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
static FILE* out;
static void CUPTIAPI requested(uint8_t** buffer, size_t* size, size_t* maxRecords) { *size = 8 << 20; *buffer = (uint8_t*)aligned_alloc(64, *size); *maxRecords = 0; }
static void CUPTIAPI completed(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
    CUpti_Activity* record = nullptr;
    while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS)
        if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL || record->kind == CUPTI_ACTIVITY_KIND_KERNEL) {
            KERNEL_RECORD* k = (KERNEL_RECORD*)record;
            fprintf(out, "%llu %llu %d %d %d %u %s_r%d\n", (unsigned long long)k->start, (unsigned long long)k->end, k->gridX * k->gridY * k->gridZ, k->blockX, k->dynamicSharedMemory + k->staticSharedMemory, k->streamId, k->name, k->registersPerThread);
        }
    free(buffer);
}
static void finish() { cuptiActivityFlushAll(1); fclose(out); }
extern "C" int InitializeInjection() {
    out = fopen(getenv("TRACE_OUT"), "w");
    cuptiActivityRegisterCallbacks(requested, completed);
    printf("cupti %d\n", (int)cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL));
    atexit(finish);
    return 1;
}
