/* One recording for many inputs, in memory where there is such a place; renewed before it gets long. */
#ifndef FUZZ_RECORDING_H
#define FUZZ_RECORDING_H

#include <dirent.h>
#include <unistd.h>

#include "cursor.h"
#include "hdvlab.h"

#define RECORDING_RENEWED 200000u /* rows */

static struct {
    char folder[256];
    HDVLAB_TRACE trace;
    const uint8_t *kind;
    const int32_t *status;
    const int64_t *cause;
} recording;

/* A new folder that nothing else uses: HDVLAB_FUZZ_SCRATCH names where. */
static inline void scratch_folder(char *folder, size_t size) {
    const char *scratch = getenv("HDVLAB_FUZZ_SCRATCH");
    if (!scratch || !*scratch)
        scratch = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    snprintf(folder, size, "%s/hdvlab-fuzz-XXXXXX", scratch);
    REQUIRE(mkdtemp(folder));
}

static inline void remove_folder(const char *folder) {
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        (void)unlink(path);
    }
    if (directory)
        closedir(directory);
    (void)rmdir(folder);
}

static inline uint64_t recording_rows(void) {
    HDVLAB_TRACE_STATE state;
    REQUIRE(hdvlab_trace_state(recording.trace, &state) == S_OK);
    REQUIRE(!state.lost && state.stopped == S_OK);
    return state.reserved;
}

static void recording_end(void) {
    if (!recording.trace)
        return;
    for (int i = 0; i < 3; i++)
        hdvlab_trace_unpin(recording.trace);
    REQUIRE(hdvlab_trace_close(recording.trace) == S_OK);
    recording.trace = NULL;
    remove_folder(recording.folder);
}

/* The trace to record this input into. */
static inline HDVLAB_TRACE recording_begin(void) {
    static int asked;
    if (!asked++)
        atexit(recording_end);
    if (recording.trace && recording_rows() > RECORDING_RENEWED)
        recording_end();
    if (!recording.trace) {
        scratch_folder(recording.folder, sizeof recording.folder);
        REQUIRE(hdvlab_trace_create(recording.folder, 1 << 24, 4096, HDVLAB_CLOCK_MONOTONIC, &recording.trace) == S_OK);
        const char *name;
        for (uint32_t i = 0; hdvlab_trace_column(i, &name); i++) {
            const void **into = !strcmp(name, "kind")     ? (const void **)&recording.kind
                                : !strcmp(name, "status") ? (const void **)&recording.status
                                : !strcmp(name, "cause")  ? (const void **)&recording.cause
                                                          : NULL;
            REQUIRE(!into || hdvlab_trace_pin(recording.trace, i, (void **)into) == S_OK);
        }
    }
    return recording.trace;
}

/* How many rows from `from` on have a kind in the set, which is a sum of KINDS(...). All of them are finished. */
#define KIND(kind) (1u << (kind))
#define ACCESS_KINDS                                                                                                   \
    (KIND(HDVLAB_CONFIG_READ) | KIND(HDVLAB_CONFIG_WRITE) | KIND(HDVLAB_MMIO_READ) | KIND(HDVLAB_MMIO_WRITE) |         \
     KIND(HDVLAB_DOORBELL))

static inline uint64_t recording_count(uint64_t from, uint32_t kinds) {
    uint64_t rows = recording_rows(), count = 0;
    for (uint64_t row = from; row < rows; row++) {
        REQUIRE(recording.kind[row] != HDVLAB_NONE && recording.kind[row] < HDVLAB_KIND_COUNT);
        REQUIRE(recording.status[row] != E_PENDING);
        REQUIRE(recording.cause[row] >= -1 && recording.cause[row] < (int64_t)row);
        count += kinds >> recording.kind[row] & 1;
    }
    return count;
}

#endif
