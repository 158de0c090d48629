/* The kernels that a program runs on an NVIDIA GPU, with their times, from CUPTI. Needs NVIDIA's driver and
 * a CUDA toolkit; the program needs no change:
 *
 *     cc -O2 -shared -fPIC -o libtrace.so kernel_trace.c -I$CUDA/include -I$CUDA/extras/CUPTI/include \
 *         -L$CUDA/extras/CUPTI/lib64 -lcupti
 *     TRACE_FILE=trace.tsv CUDA_INJECTION64_PATH=$PWD/libtrace.so PROGRAM ARGUMENT..
 *     python3 kernels.py trace.tsv --milliseconds 430
 *
 * A line for each kernel: start and duration in nanoseconds, blocks, threads of a block, name.
 */
#include <cupti.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static FILE *out;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void requested(uint8_t **buffer, size_t *size, size_t *max_records) {
    *size = 8u << 20;
    *max_records = 0;
    if (posix_memalign((void **)buffer, 8, *size)) *buffer = NULL;
}

static void completed(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid) {
    (void)context, (void)stream, (void)size;
    CUpti_Activity *record = NULL;
    pthread_mutex_lock(&lock);
    while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) continue;
        /* Later versions of the record only have further fields at the end. */
        CUpti_ActivityKernel9 *kernel = (void *)record;
        fprintf(out, "%llu\t%llu\t%d,%d,%d\t%d,%d,%d\t%s\n", (unsigned long long)kernel->start,
                (unsigned long long)(kernel->end - kernel->start), kernel->gridX, kernel->gridY, kernel->gridZ,
                kernel->blockX, kernel->blockY, kernel->blockZ, kernel->name);
    }
    fflush(out);
    pthread_mutex_unlock(&lock);
    free(buffer);
}

static void flush(void) { cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED); }

/* The driver calls this before the program's first call. */
int InitializeInjection(void) {
    const char *path = getenv("TRACE_FILE");
    out = path ? fopen(path, "w") : NULL;
    if (!out) {
        fprintf(stderr, "kernel_trace: set TRACE_FILE to a file that can be written\n");
        return 0;
    }
    CUptiResult result = cuptiActivityRegisterCallbacks(requested, completed);
    if (result == CUPTI_SUCCESS) result = cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    if (result != CUPTI_SUCCESS) {
        fprintf(stderr, "kernel_trace: CUPTI reports error %d\n", result);
        return 0;
    }
    atexit(flush);
    return 1;
}
