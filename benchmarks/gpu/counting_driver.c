// A CUDA driver without a GPU: it counts what a program asks for and computes nothing.
//
//     cc -shared -fPIC -O2 -o libcuda.so counting_driver.c
//     COUNTING_DRIVER=counts LD_LIBRARY_PATH=. PROGRAM
//
// It answers as one NVIDIA H100. Memory is reserved and never touched, kernels are not run, and what is
// read back is zeros. The counts are in the file that COUNTING_DRIVER names, up to date at any time: the
// layout of `struct counts`, all numbers 64 bits wide and little-endian. It is a test double and knows
// only the functions that CubeCL calls.

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define KERNELS 4096
#define NAME 216
#define MULTIPROCESSORS 132

typedef int CUresult;
typedef uint64_t CUdeviceptr;
typedef void *Handle;

enum {
    SUCCESS = 0,
    OUT_OF_MEMORY = 2,
    NOT_FOUND = 500,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901
};

enum counter {
    LAUNCHES,
    LAUNCHES_OF_ONE_BLOCK,
    // Fewer blocks than the device has multiprocessors.
    LAUNCHES_BELOW_ONE_WAVE,
    EVENTS_RECORDED,
    EVENT_WAITS,
    SYNCHRONIZATIONS,
    HOST_READS,
    HOST_WRITES,
    DEVICE_COPIES,
    ALLOCATIONS,
    BYTES_ALLOCATED,
    MODULES_LOADED,
    GRAPH_LAUNCHES,
    // All calls of the driver.
    CALLS,
    // Calls that CUDA refuses while a stream is recorded; the recording then fails.
    REFUSED_WHILE_RECORDING,
    COUNTERS
};

struct kernel {
    char name[NAME];
    _Atomic uint64_t launches;
    // Of the launch with the fewest.
    _Atomic uint64_t blocks, threads_of_a_block;
};

struct counts {
    _Atomic uint64_t counters[COUNTERS];
    _Atomic uint64_t kernels_known;
    struct kernel kernels[KERNELS];
};

struct event {
    double seconds;
};

static struct counts *counts;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void open_counts(void) {
    const char *path = getenv("COUNTING_DRIVER");
    int file = path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
    if (path && (file < 0 || ftruncate(file, sizeof *counts) != 0)) {
        perror(path);
        exit(2);
    }
    int shared = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, shared, file, 0);
    if (counts == MAP_FAILED) {
        perror("counting driver");
        exit(2);
    }
}

static void count(enum counter counter, uint64_t by) { atomic_fetch_add(&counts->counters[counter], by); }

static CUresult called(void) {
    count(CALLS, 1);
    return SUCCESS;
}

// The number of streams that are recorded, and whether a recording has become invalid.
static _Atomic int recording, invalid;

// What CUDA refuses while any stream of the process is recorded (CU_STREAM_CAPTURE_MODE_GLOBAL), as far as CubeCL may call it.
static CUresult unless_recording(void) {
    if (recording == 0) return SUCCESS;
    invalid = 1;
    count(REFUSED_WHILE_RECORDING, 1);
    return CAPTURE_UNSUPPORTED;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static Handle new_handle(void) { return calloc(1, 64); }

// The device and its context.

EXPORT CUresult cuInit(unsigned flags) { return called(); }

EXPORT CUresult cuDriverGetVersion(int *version) {
    count(CALLS, 1);
    *version = 13000;
    return SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int *devices) {
    count(CALLS, 1);
    const char *wanted = getenv("COUNTING_DRIVER_DEVICES");
    *devices = wanted ? atoi(wanted) : 1;
    return SUCCESS;
}

EXPORT CUresult cuDeviceGet(int *device, int ordinal) {
    count(CALLS, 1);
    *device = ordinal;
    return SUCCESS;
}

EXPORT CUresult cuDeviceGetName(char *name, int length, int device) {
    count(CALLS, 1);
    snprintf(name, length, "counting driver");
    return SUCCESS;
}

EXPORT CUresult cuDeviceGetPCIBusId(char *id, int length, int device) {
    count(CALLS, 1);
    snprintf(id, length, "0000:%02x:00.0", device + 1);
    return SUCCESS;
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) {
    count(CALLS, 1);
    *bytes = (size_t)80 << 30;
    return SUCCESS;
}

EXPORT CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    count(CALLS, 1);
    *free = (size_t)79 << 30;
    *total = (size_t)80 << 30;
    return SUCCESS;
}

// Numbers of CUdevice_attribute, and an H100's values.
EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    count(CALLS, 1);
    switch (attribute) {
    case 1: *value = 1024; break;               // threads of a block
    case 2: case 3: *value = 1024; break;       // their first and second dimension
    case 4: *value = 64; break;                 // their third
    case 5: *value = 2147483647; break;         // blocks, first dimension
    case 6: case 7: *value = 65535; break;      // second and third
    case 8: *value = 49152; break;              // shared memory of a block, bytes
    case 10: *value = 32; break;                // threads of a warp
    case 16: *value = MULTIPROCESSORS; break;
    case 75: *value = 9; break;                 // compute capability
    case 76: *value = 0; break;
    case 97: *value = 232448; break;            // shared memory on request, bytes
    default: *value = 1;
    }
    return SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRetain(Handle *context, int device) {
    count(CALLS, 1);
    *context = (Handle)(uintptr_t)(0x1000 + device);
    return SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(int device) { return called(); }
EXPORT CUresult cuCtxSetCurrent(Handle context) { return called(); }

EXPORT CUresult cuCtxGetCurrent(Handle *context) {
    count(CALLS, 1);
    *context = (Handle)0x1000;
    return SUCCESS;
}

EXPORT CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    count(CALLS, 1);
    *least = 0;
    *greatest = -5;
    return SUCCESS;
}

EXPORT CUresult cuCtxSynchronize(void) {
    count(CALLS, 1);
    if (unless_recording()) return CAPTURE_UNSUPPORTED;
    count(SYNCHRONIZATIONS, 1);
    return SUCCESS;
}

EXPORT CUresult cuGetErrorName(int error, const char **name) {
    count(CALLS, 1);
    *name = "CUDA_ERROR";
    return SUCCESS;
}

EXPORT CUresult cuGetErrorString(int error, const char **text) {
    count(CALLS, 1);
    *text = "an error of the counting driver";
    return SUCCESS;
}

// Streams and events. An event's time is when it was recorded.

EXPORT CUresult cuStreamCreate(Handle *stream, unsigned flags) {
    count(CALLS, 1);
    *stream = new_handle();
    return SUCCESS;
}

EXPORT CUresult cuStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) {
    return cuStreamCreate(stream, flags);
}

EXPORT CUresult cuStreamDestroy_v2(Handle stream) { return called(); }

EXPORT CUresult cuStreamSynchronize(Handle stream) {
    count(CALLS, 1);
    if (unless_recording()) return CAPTURE_UNSUPPORTED;
    count(SYNCHRONIZATIONS, 1);
    return SUCCESS;
}

EXPORT CUresult cuStreamWaitEvent(Handle stream, Handle event, unsigned flags) {
    count(CALLS, 1);
    // Of an event that was recorded outside.
    if (unless_recording()) return CAPTURE_UNSUPPORTED;
    count(EVENT_WAITS, 1);
    return SUCCESS;
}

EXPORT CUresult cuStreamIsCapturing(Handle stream, int *status) {
    count(CALLS, 1);
    *status = 0;
    return SUCCESS;
}

EXPORT CUresult cuLaunchHostFunc(Handle stream, void (*function)(void *), void *argument) {
    count(CALLS, 1);
    function(argument);
    return SUCCESS;
}

EXPORT CUresult cuEventCreate(Handle *event, unsigned flags) {
    count(CALLS, 1);
    *event = calloc(1, sizeof(struct event));
    return SUCCESS;
}

EXPORT CUresult cuEventDestroy_v2(Handle event) {
    count(CALLS, 1);
    free(event);
    return SUCCESS;
}

EXPORT CUresult cuEventRecord(Handle event, Handle stream) {
    count(CALLS, 1);
    count(EVENTS_RECORDED, 1);
    ((struct event *)event)->seconds = now();
    return SUCCESS;
}

EXPORT CUresult cuEventSynchronize(Handle event) {
    count(CALLS, 1);
    if (unless_recording()) return CAPTURE_UNSUPPORTED;
    count(SYNCHRONIZATIONS, 1);
    return SUCCESS;
}

EXPORT CUresult cuEventQuery(Handle event) {
    count(CALLS, 1);
    return unless_recording();
}

EXPORT CUresult cuEventElapsedTime(float *milliseconds, Handle start, Handle end) {
    count(CALLS, 1);
    double seconds = ((struct event *)end)->seconds - ((struct event *)start)->seconds;
    *milliseconds = seconds > 1e-6 ? 1e3 * seconds : 1e-3;
    return SUCCESS;
}

EXPORT CUresult cuEventElapsedTime_v2(float *milliseconds, Handle start, Handle end) {
    return cuEventElapsedTime(milliseconds, start, end);
}

// Memory. Addresses are those of reserved pages, so that they are distinct.

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
    count(CALLS, 1);
    if (unless_recording()) return CAPTURE_UNSUPPORTED;
    count(ALLOCATIONS, 1);
    count(BYTES_ALLOCATED, bytes);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    *pointer = (CUdeviceptr)(uintptr_t)pages;
    return pages == MAP_FAILED ? OUT_OF_MEMORY : SUCCESS;
}

EXPORT CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, Handle stream) {
    return cuMemAlloc_v2(pointer, bytes);
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer) { return called(); }
EXPORT CUresult cuMemFreeAsync(CUdeviceptr pointer, Handle stream) { return called(); }

EXPORT CUresult cuMemAllocHost_v2(Handle *pointer, size_t bytes) {
    count(CALLS, 1);
    if (unless_recording()) return CAPTURE_UNSUPPORTED;
    return posix_memalign(pointer, 4096, bytes) ? OUT_OF_MEMORY : SUCCESS;
}

EXPORT CUresult cuMemHostAlloc(Handle *pointer, size_t bytes, unsigned flags) {
    return cuMemAllocHost_v2(pointer, bytes);
}

EXPORT CUresult cuMemFreeHost(Handle pointer) {
    count(CALLS, 1);
    free(pointer);
    return SUCCESS;
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, Handle stream) {
    count(CALLS, 1);
    count(HOST_WRITES, 1);
    return SUCCESS;
}

EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    return cuMemcpyHtoDAsync_v2(to, from, bytes, NULL);
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(Handle to, CUdeviceptr from, size_t bytes, Handle stream) {
    count(CALLS, 1);
    if (unless_recording()) return CAPTURE_UNSUPPORTED;
    count(HOST_READS, 1);
    memset(to, 0, bytes);
    return SUCCESS;
}

EXPORT CUresult cuMemcpyDtoH_v2(Handle to, CUdeviceptr from, size_t bytes) {
    return cuMemcpyDtoHAsync_v2(to, from, bytes, NULL);
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, Handle stream) {
    count(CALLS, 1);
    count(DEVICE_COPIES, 1);
    return SUCCESS;
}

// CUDA_MEMCPY2D_v2.
struct copy {
    size_t from_x, from_y;
    int from_type;
    const void *from_host;
    CUdeviceptr from_device;
    Handle from_array;
    size_t from_pitch, to_x, to_y;
    int to_type;
    void *to_host;
    CUdeviceptr to_device;
    Handle to_array;
    size_t to_pitch, bytes_of_a_row, rows;
};

EXPORT CUresult cuMemcpy2DAsync_v2(const struct copy *copy, Handle stream) {
    count(CALLS, 1);
    enum { HOST = 1 };
    if (copy->to_type != HOST) {
        count(HOST_WRITES, 1);
        return SUCCESS;
    }
    count(HOST_READS, 1);
    for (size_t row = 0; row < copy->rows; row++) {
        memset((char *)copy->to_host + row * copy->to_pitch, 0, copy->bytes_of_a_row);
    }
    return SUCCESS;
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, Handle stream) {
    count(CALLS, 1);
    return SUCCESS;
}

// Modules and kernels.

// Writes the source of a module, if it is one in PTX, to the folder that the variable COUNTING_DRIVER_MODULES names.
static void keep_module(const char *image) {
    static int number = 0;
    const char *folder = getenv("COUNTING_DRIVER_MODULES");
    char path[4096];
    if (!folder || memcmp(image, "\177ELF", 4) == 0) return;
    pthread_mutex_lock(&lock);
    snprintf(path, sizeof path, "%s/%04d.ptx", folder, number++);
    pthread_mutex_unlock(&lock);
    FILE *file = fopen(path, "w");
    if (!file || fputs(image, file) < 0 || fclose(file) != 0) perror(path);
}

EXPORT CUresult cuModuleLoadData(Handle *module, const void *image) {
    count(CALLS, 1);
    if (unless_recording()) return CAPTURE_UNSUPPORTED;
    count(MODULES_LOADED, 1);
    keep_module(image);
    *module = new_handle();
    return SUCCESS;
}

EXPORT CUresult cuModuleUnload(Handle module) { return called(); }

EXPORT CUresult cuModuleGetFunction(Handle *function, Handle module, const char *name) {
    count(CALLS, 1);
    pthread_mutex_lock(&lock);
    uint64_t known = counts->kernels_known;
    if (known < KERNELS) {
        struct kernel *kernel = &counts->kernels[known];
        snprintf(kernel->name, NAME, "%s", name);
        counts->kernels_known = known + 1;
        *function = kernel;
    }
    pthread_mutex_unlock(&lock);
    return known < KERNELS ? SUCCESS : NOT_FOUND;
}

EXPORT CUresult cuFuncSetAttribute(Handle function, int attribute, int value) { return called(); }

EXPORT CUresult cuFuncGetAttribute(int *value, int attribute, Handle function) {
    count(CALLS, 1);
    *value = 0;
    return SUCCESS;
}

static CUresult launch(struct kernel *kernel, const unsigned grid[3], const unsigned block[3]) {
    uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    count(LAUNCHES, 1);
    count(LAUNCHES_OF_ONE_BLOCK, blocks == 1);
    count(LAUNCHES_BELOW_ONE_WAVE, blocks < MULTIPROCESSORS);
    if (atomic_fetch_add(&kernel->launches, 1) == 0 || blocks < kernel->blocks) {
        kernel->blocks = blocks;
        kernel->threads_of_a_block = (uint64_t)block[0] * block[1] * block[2];
    }
    return SUCCESS;
}

EXPORT CUresult cuLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                               unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                               Handle stream, Handle *arguments, Handle *extra) {
    count(CALLS, 1);
    const unsigned grid[] = {grid_x, grid_y, grid_z}, block[] = {block_x, block_y, block_z};
    return launch(function, grid, block);
}

// The beginning of CUlaunchConfig.
struct configuration {
    unsigned grid[3], block[3];
};

EXPORT CUresult cuLaunchKernelEx(const struct configuration *configuration, Handle function,
                                 Handle *arguments, Handle *extra) {
    count(CALLS, 1);
    return launch(function, configuration->grid, configuration->block);
}

EXPORT CUresult cuTensorMapEncodeTiled(Handle map, int type, unsigned rank, Handle address,
                                       const uint64_t *size, const uint64_t *strides,
                                       const uint32_t *box, const uint32_t *element_strides,
                                       int interleave, int swizzle, int promotion, int fill) {
    count(CALLS, 1);
    return SUCCESS;
}

EXPORT CUresult cuTensorMapEncodeIm2col(Handle map) { return called(); }

// Graphs.

EXPORT CUresult cuStreamBeginCapture_v2(Handle stream, int mode) {
    count(CALLS, 1);
    invalid = 0;
    recording++;
    return SUCCESS;
}

EXPORT CUresult cuStreamEndCapture(Handle stream, Handle *graph) {
    count(CALLS, 1);
    recording--;
    *graph = invalid ? NULL : new_handle();
    return invalid ? CAPTURE_INVALIDATED : SUCCESS;
}

EXPORT CUresult cuGraphInstantiateWithFlags(Handle *executable, Handle graph, unsigned long long flags) {
    count(CALLS, 1);
    *executable = new_handle();
    return SUCCESS;
}

EXPORT CUresult cuGraphUpload(Handle executable, Handle stream) { return called(); }

EXPORT CUresult cuGraphLaunch(Handle executable, Handle stream) {
    count(CALLS, 1);
    count(GRAPH_LAUNCHES, 1);
    return SUCCESS;
}

EXPORT CUresult cuGraphDestroy(Handle graph) { return called(); }
EXPORT CUresult cuGraphExecDestroy(Handle executable) { return called(); }

EXPORT CUresult cuGraphGetNodes(Handle graph, Handle *nodes, size_t *number) {
    count(CALLS, 1);
    *number = 0;
    return SUCCESS;
}

EXPORT CUresult cuGraphNodeGetType(Handle node, int *type) {
    count(CALLS, 1);
    *type = 0;
    return SUCCESS;
}
