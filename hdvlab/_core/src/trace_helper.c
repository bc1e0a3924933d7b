/* One thread per recording that works ahead of the writers (reserves space and touches its pages, so that no access pays
 * for a page fault) and behind them (seals chunks). Writers never wait for it: what it has not done they do themselves. */
#include "trace.h"

void trace_ask_helper(struct trace *trace) {
    pthread_mutex_lock(&trace->helper_lock);
    trace->helper_asked = 1;
    pthread_cond_signal(&trace->helper_wake);
    pthread_mutex_unlock(&trace->helper_lock);
}

static void touch(struct trace *trace, uint64_t from, uint64_t to) {
    for (int i = 0; i < HDVLAB_COLUMN_COUNT && from < to; i++) {
        uint64_t width = trace_columns[i].width;
        platform_prefault((char *)trace->column[i] + from * width, (to - from) * width);
    }
}

static void *work(void *argument) {
    struct trace *trace = argument;
    uint64_t touched = 0;
    for (;;) {
        pthread_mutex_lock(&trace->helper_lock);
        while (!trace->helper_asked && !trace->helper_quit)
            pthread_cond_wait(&trace->helper_wake, &trace->helper_lock);
        int quit = trace->helper_quit;
        trace->helper_asked = 0;
        pthread_mutex_unlock(&trace->helper_lock);
        if (quit)
            return NULL;
        if (trace_is_open(trace)) {
            pthread_mutex_lock(&trace->grow_lock);
            /* No space is no news here: the writer that needs it stops the recording. */
            (void)trace_grow(trace, atomic_load(&trace->header->reserved) + trace->chunk_rows);
            uint64_t capacity = atomic_load(&trace->header->capacity) + 1;
            pthread_mutex_unlock(&trace->grow_lock);
            uint64_t reserved = atomic_load(&trace->header->reserved);
            touch(trace, touched > reserved ? touched : reserved, capacity);
            touched = capacity;
        }
        trace_seal_ready(trace, 0);
    }
}

int trace_helper_start(struct trace *trace) {
    int error = platform_thread_start(&trace->helper, work, trace);
    trace->helper_running = !error;
    if (!error)
        trace_ask_helper(trace);
    return error;
}

void trace_helper_stop(struct trace *trace) {
    if (!trace->helper_running)
        return;
    pthread_mutex_lock(&trace->helper_lock);
    trace->helper_quit = 1;
    pthread_cond_signal(&trace->helper_wake);
    pthread_mutex_unlock(&trace->helper_lock);
    pthread_join(trace->helper, NULL);
    trace->helper_running = 0;
}
