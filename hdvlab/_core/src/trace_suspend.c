/* Recording off and on: rows that would have begun are counted, and the count is a row. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "handle.h"
#include "trace.h"

/* From one state to the other; the count of what was not recorded when it goes on, -1 = nothing has changed. */
static int64_t switch_state(struct trace *trace, uint32_t from, uint32_t to) {
    int64_t unrecorded = -1;
    pthread_mutex_lock(&trace->grow_lock);
    if (atomic_compare_exchange_strong(&trace->state, &from, to)) {
        unrecorded = (int64_t)trace->unrecorded;
        trace->unrecorded = 0;
        atomic_store(&trace->header->suspended, to == TRACE_SUSPENDED);
    }
    pthread_mutex_unlock(&trace->grow_lock);
    return unrecorded;
}

/* Returns whether it was suspended. The mark may stand behind rows of threads that were quicker. */
static int go_on(struct trace *trace) {
    char text[80];
    int64_t unrecorded = switch_state(trace, TRACE_SUSPENDED, TRACE_RECORDING);
    if (unrecorded < 0)
        return 0;
    snprintf(text, sizeof text, "recording was suspended: %" PRId64 " %s not recorded", unrecorded,
             unrecorded == 1 ? "row" : "rows");
    trace_mark(trace, HDVLAB_MARK, HDVLAB_USER, HDVLAB_NO_DEVICE, -1, S_OK, text, (uint32_t)strlen(text));
    return 1;
}

void trace_go_on(struct trace *trace) { (void)go_on(trace); }

HRESULT hdvlab_trace_suspend(HDVLAB_TRACE handle, BOOL suspended) {
    struct trace *trace = handle_acquire(handle, HANDLE_TRACE);
    if (!trace)
        return handle_refusal(handle);
    HRESULT hr = E_ACCESSDENIED;
    if (trace->writable) {
        int is_changed = suspended ? switch_state(trace, TRACE_RECORDING, TRACE_SUSPENDED) >= 0 : go_on(trace);
        uint32_t state = atomic_load(&trace->state);
        hr = is_changed                  ? S_OK
             : state == TRACE_STOPPED ? atomic_load(&trace->header->stopped)
             : state == TRACE_CLOSED  ? HRESULT_FROM_WIN32(ERROR_INVALID_STATE)
                                         : 1;
    }
    handle_release(handle);
    return hr;
}
