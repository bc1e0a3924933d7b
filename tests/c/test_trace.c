/* The recording, as far as it rests on the system's files: creating, growing, mapping, sealing, reading back. */
#include "machine.h"

#include <string.h>

#define MAX_ROWS 4096
#define CHUNK 64

static UINT64 rows_of(HDVLAB_TRACE trace) {
    uint64_t rows = 0;
    GIVES(hdvlab_trace_committed(trace, 0, &rows), S_OK);
    return rows;
}

static const void *column_of(HDVLAB_TRACE trace, const char *wanted) {
    const char *name;
    void *base = NULL;
    for (uint32_t column = 0; column < HDVLAB_COLUMN_COUNT; column++)
        if (hdvlab_trace_column(column, &name) && !strcmp(name, wanted)) {
            GIVES(hdvlab_trace_pin(trace, column, &base), S_OK);
            hdvlab_trace_unpin(trace); /* the caller's own reference keeps the mapping */
        }
    return base;
}

TEST(every_access_is_a_row_that_another_reader_sees_while_it_is_written) {
    const char *path = scratch_path();
    HDVLAB_TRACE trace = NULL, reader = NULL;
    HDVLAB_TRACE_STATE state;
    struct machine machine;
    GIVES(hdvlab_trace_create(path, MAX_ROWS, CHUNK, HDVLAB_CLOCK_AUTO, &trace), S_OK);
    NEED(trace);
    GIVES(hdvlab_trace_attach(path, &reader), S_OK);
    NEED(reader);
    machine_open(&machine, trace);
    GIVES(machine_start(&machine), S_OK);
    UINT64 before = rows_of(reader);
    CHECK(before > 0);
    GIVES(guest_write(&machine, PLACE + 8, 4, 0xABCD), S_OK);
    EQUAL(rows_of(reader), before + 1);
    EQUAL(((const uint8_t *)column_of(reader, "kind"))[before], HDVLAB_MMIO_WRITE);
    EQUAL(((const uint64_t *)column_of(reader, "address"))[before], 8);
    EQUAL(((const uint64_t *)column_of(reader, "value"))[before], 0xABCD);
    GIVES(((const int32_t *)column_of(reader, "status"))[before], S_OK);
    GIVES(hdvlab_trace_state(reader, &state), S_OK);
    EQUAL(state.live, 1);
    EQUAL(state.closed, 0);
    machine_close(&machine);
    UINT64 rows = rows_of(trace);
    GIVES(hdvlab_trace_close(trace), S_OK);
    GIVES(hdvlab_trace_state(reader, &state), S_OK);
    EQUAL(state.live, 0);
    EQUAL(state.closed, 1);
    EQUAL(state.lost, 0);
    EQUAL(rows_of(reader), rows);
    GIVES(hdvlab_trace_close(reader), S_OK);
    scratch_remove(path);
}

TEST(a_recording_grows_by_chunks_is_sealed_and_can_be_checked_later) {
    const char *path = scratch_path();
    HDVLAB_TRACE trace = NULL;
    int64_t row = 0;
    uint32_t state = 0, rows = 0;
    char text[100];
    memset(text, 'x', sizeof text);
    GIVES(hdvlab_trace_create(path, MAX_ROWS, CHUNK, HDVLAB_CLOCK_MONOTONIC, &trace), S_OK);
    NEED(trace);
    for (int i = 0; i < 1000; i++)
        GIVES(hdvlab_trace_mark(trace, HDVLAB_MARK, HDVLAB_NO_DEVICE, -1, S_OK, text, sizeof text, &row), S_OK);
    EQUAL(row, 999);
    GIVES(hdvlab_trace_close(trace), S_OK);
    GIVES(hdvlab_trace_attach(path, &trace), S_OK);
    EQUAL(rows_of(trace), 1000);
    for (uint64_t chunk = 0; chunk < 1000 / CHUNK; chunk++) {
        GIVES(hdvlab_trace_verify(trace, chunk, &state, &rows), S_OK);
        EQUAL(state, 1);
        EQUAL(rows, CHUNK);
    }
    const int64_t *place = column_of(trace, "payload");
    void *payload = NULL;
    GIVES(hdvlab_trace_pin(trace, HDVLAB_COLUMN_COUNT, &payload), S_OK);
    NEED(payload && place);
    CHECK(!memcmp((char *)payload + place[999], text, sizeof text));
    hdvlab_trace_unpin(trace);
    GIVES(hdvlab_trace_close(trace), S_OK);
    scratch_remove(path);
}

TEST(a_recording_that_is_full_stops_and_counts_what_it_loses) {
    const char *path = scratch_path();
    HDVLAB_TRACE trace = NULL;
    HDVLAB_TRACE_STATE state;
    int64_t row = 0;
    GIVES(hdvlab_trace_create(path, CHUNK, CHUNK, HDVLAB_CLOCK_AUTO, &trace), S_OK);
    NEED(trace);
    for (int i = 0; i < 100; i++)
        (void)hdvlab_trace_mark(trace, HDVLAB_MARK, HDVLAB_NO_DEVICE, -1, S_OK, "text", 4, &row);
    EQUAL(row, -1);
    GIVES(hdvlab_trace_state(trace, &state), S_OK);
    GIVES(state.stopped, HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA));
    EQUAL(state.lost, 100 - (CHUNK - 1)); /* the last row says so */
    GIVES(hdvlab_trace_close(trace), S_OK);
    scratch_remove(path);
}

TEST(a_recording_needs_a_folder_that_has_none_yet) {
    const char *path = scratch_path();
    HDVLAB_TRACE trace = NULL, second = NULL;
    GIVES(hdvlab_trace_create(NULL, MAX_ROWS, CHUNK, HDVLAB_CLOCK_AUTO, &trace), E_POINTER);
    GIVES(hdvlab_trace_create(path, MAX_ROWS, CHUNK, HDVLAB_CLOCK_AUTO, NULL), E_POINTER);
    GIVES(hdvlab_trace_create(path, MAX_ROWS, CHUNK + 1, HDVLAB_CLOCK_AUTO, &trace), E_INVALIDARG);
    GIVES(hdvlab_trace_attach(path, &trace), HRESULT_FROM_WIN32(ERROR_NOT_FOUND));
    GIVES(hdvlab_trace_create(path, MAX_ROWS, CHUNK, HDVLAB_CLOCK_AUTO, &trace), S_OK);
    GIVES(hdvlab_trace_create(path, MAX_ROWS, CHUNK, HDVLAB_CLOCK_AUTO, &second), HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS));
    GIVES(hdvlab_trace_close(trace), S_OK);
    GIVES(hdvlab_trace_close(trace), E_HANDLE);
    scratch_remove(path);
}

TEST(time_goes_on_between_rows) {
    const char *path = scratch_path();
    HDVLAB_TRACE trace = NULL;
    int64_t row = 0;
    for (uint32_t clock = HDVLAB_CLOCK_AUTO; clock <= HDVLAB_CLOCK_MONOTONIC; clock++) {
        GIVES(hdvlab_trace_create(path, MAX_ROWS, CHUNK, clock, &trace), S_OK);
        NEED(trace);
        for (int i = 0; i < 3; i++)
            GIVES(hdvlab_trace_mark(trace, HDVLAB_MARK, HDVLAB_NO_DEVICE, -1, S_OK, "text", 4, &row), S_OK);
        const int64_t *t_ns = column_of(trace, "t_ns");
        NEED(t_ns);
        CHECK(t_ns[0] >= 0 && t_ns[1] >= t_ns[0] && t_ns[2] >= t_ns[1]);
        CHECK(t_ns[2] < 60000000000);
        GIVES(hdvlab_trace_close(trace), S_OK);
        scratch_remove(path);
    }
}
