/* A recording whose files are cut, changed and even sealed again by someone who means harm, read in every way there is: no
 * byte may be touched that is not in the files, and no more rows be given than they hold. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "recording.h"

/* The reader's own layout and checksums: the target forges headers and seals whose checksums hold. */
#include "../../hdvlab/_core/src/crc32c.h"
#include "../../hdvlab/_core/src/trace_files.h"

#define FILES (HDVLAB_COLUMN_COUNT + 3)
#define HEADER HDVLAB_COLUMN_COUNT
#define PAYLOAD (HDVLAB_COLUMN_COUNT + 1)
#define SEALS (HDVLAB_COLUMN_COUNT + 2)
#define CHUNK 64u
#define ROWS 200u
#define KEPT 4096u /* bytes of each file that are kept: all there is in them */

static struct cursor input;
static char folder[256];
static _Alignas(64) uint8_t whole[FILES][KEPT], changed[FILES][KEPT];
static size_t whole_size[FILES], size_of[FILES];
static int is_dirty[FILES], fds[FILES];

static void name_file(uint32_t file, char *name, size_t size) {
    static const char *const others[] = {"header.bin", "payload.bin", "seals.bin"};
    const char *column = NULL;
    if (hdvlab_trace_column(file, &column))
        snprintf(name, size, "%s/%s.col", folder, column);
    else
        snprintf(name, size, "%s/%s", folder, others[file - HEADER]);
}

static void forget(void) { remove_folder(folder); }

/* One recording for all inputs: rows with and without payload, sealed chunks and a short last one. */
static void make_recording(void) {
    HDVLAB_TRACE trace;
    int64_t row;
    char text[40];
    scratch_folder(folder, sizeof folder);
    atexit(forget);
    REQUIRE(hdvlab_trace_create(folder, 1024, CHUNK, HDVLAB_CLOCK_MANUAL, &trace) == S_OK);
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t bytes = i % 16 ? 4 : 32;
        memset(text, (int)('a' + i % 26), sizeof text);
        REQUIRE(hdvlab_trace_set_time(trace, i) == S_OK);
        REQUIRE(hdvlab_trace_mark(trace, HDVLAB_MARK, 0, -1, S_OK, text, bytes, &row) == S_OK);
    }
    REQUIRE(hdvlab_trace_close(trace) == S_OK);
    for (uint32_t i = 0; i < FILES; i++) {
        char name[300];
        struct stat file;
        name_file(i, name, sizeof name);
        REQUIRE((fds[i] = open(name, O_RDWR | O_CLOEXEC)) >= 0 && !fstat(fds[i], &file));
        size_t size = (size_t)file.st_size < KEPT ? (size_t)file.st_size : KEPT;
        REQUIRE(!ftruncate(fds[i], (off_t)size) && pread(fds[i], whole[i], size, 0) == (ssize_t)size);
        whole_size[i] = size;
    }
}

static void restore(void) {
    for (uint32_t i = 0; i < FILES; i++)
        if (is_dirty[i]) {
            REQUIRE(!ftruncate(fds[i], 0));
            REQUIRE(pwrite(fds[i], whole[i], whole_size[i], 0) == (ssize_t)whole_size[i]);
            is_dirty[i] = 0;
        }
}

static uint8_t *dirty(uint32_t file) {
    if (!is_dirty[file]) {
        memcpy(changed[file], whole[file], KEPT);
        size_of[file] = whole_size[file];
        is_dirty[file] = 1;
    }
    return changed[file];
}

static uint64_t take_size(void) { return take8(&input) & 1 ? take_number(&input) : 64u << (take8(&input) & 15); }

static void forge_header(void) {
    struct trace_header *h = (struct trace_header *)(void *)dirty(HEADER);
    switch (take_below(&input, 8)) {
    case 0: h->max_rows = take_size(); break;
    case 1: h->chunk_rows = take_size(); break;
    case 2: h->clock.kind = take8(&input); break;
    case 3: atomic_store(&h->reserved, take_number(&input)); break;
    case 4: atomic_store(&h->capacity, take_number(&input)); break;
    case 5: atomic_store(&h->payload_capacity, take_number(&input)); break;
    case 6: atomic_store(&h->closed, take8(&input) & 1); break;
    default: h->totals.reserved = take_number(&input);
    }
    h->crc = trace_header_crc(h);
    h->totals.crc = trace_totals_crc(h);
}

/* A seal of other rows, with its checksum made right, and the columns' as well where they are there to be summed. */
static void forge_seal(void) {
    uint8_t *seals = dirty(SEALS);
    uint32_t chunk = take_below(&input, 8), words[SEAL_WORDS];
    memcpy(words, seals + chunk * sizeof words, sizeof words);
    words[1] = take8(&input) & 1 ? (uint32_t)take_number(&input) : take8(&input);
    if (take8(&input) & 1)
        words[2 + take_below(&input, 14)] = take32(&input);
    words[0] = crc32c(0, words + 1, sizeof words - 4);
    memcpy(seals + chunk * sizeof words, words, sizeof words);
    size_t end = (chunk + 1) * sizeof words;
    size_of[SEALS] = size_of[SEALS] < end ? end : size_of[SEALS];
}

static void change(void) {
    uint8_t what = take8(&input);
    uint32_t file = take_below(&input, FILES);
    if ((what & 3) == 0) {
        forge_header();
    } else if ((what & 3) == 1) {
        forge_seal();
    } else if (what & 4) { /* cut */
        (void)dirty(file);
        size_of[file] = take_number(&input) % (KEPT + 1);
    } else { /* written over */
        uint8_t *bytes = dirty(file);
        uint64_t at = take16(&input) % KEPT;
        for (uint32_t left = 1 + take_below(&input, 16); left && at < KEPT; left--)
            bytes[at++] = take8(&input);
    }
}

static uint64_t rows_there(void) {
    uint64_t rows = UINT64_MAX;
    for (uint32_t i = 0; i < HDVLAB_COLUMN_COUNT; i++) {
        uint64_t here = (is_dirty[i] ? size_of[i] : whole_size[i]) / hdvlab_trace_column(i, NULL);
        rows = here < rows ? here : rows;
    }
    return rows;
}

static uint32_t sum; /* what was read, so that it is */

static void touch(HDVLAB_TRACE trace, uint32_t column, uint64_t bytes) {
    void *base;
    REQUIRE(hdvlab_trace_pin(trace, column, &base) == S_OK);
    for (uint64_t i = 0; i < bytes; i++)
        sum += ((const volatile uint8_t *)base)[i];
    hdvlab_trace_unpin(trace);
}

static void read_all(HDVLAB_TRACE trace, int is_live) {
    HDVLAB_TRACE_STATE state;
    uint64_t rows = 0, settled = 0, from = take_number(&input), there = rows_there();
    uint32_t how = 0, sealed = 0;
    REQUIRE(hdvlab_trace_state(trace, &state) == S_OK);
    REQUIRE(state.live == (uint32_t)(is_live && !state.closed) && state.max_rows && state.chunk_rows);
    uint64_t limit = there < state.max_rows ? there : state.max_rows;
    REQUIRE(hdvlab_trace_committed(trace, 0, &rows) == S_OK && rows <= limit);
    for (uint32_t i = 0; i < HDVLAB_COLUMN_COUNT; i++)
        touch(trace, i, rows * hdvlab_trace_column(i, NULL));
    REQUIRE(state.payload_bytes <= (is_dirty[PAYLOAD] ? size_of[PAYLOAD] : whole_size[PAYLOAD]));
    REQUIRE(state.payload_bytes <= state.payload_max);
    touch(trace, HDVLAB_COLUMN_COUNT, state.payload_bytes);
    uint64_t later;
    REQUIRE(hdvlab_trace_committed(trace, from, &later) == S_OK && (later == from || later <= limit));
    for (uint64_t chunk = 0; chunk < 9; chunk++) {
        uint64_t which = chunk < 8 ? chunk : from;
        REQUIRE(hdvlab_trace_verify(trace, which, &how, &sealed) == S_OK && how <= 4 && (how || !sealed));
        if (how == 1 || how == 3) /* whole rows are rows that there are */
            REQUIRE(sealed <= state.chunk_rows && which * state.chunk_rows + sealed <= limit);
    }
    REQUIRE(hdvlab_trace_settled(trace, from % (2 * ROWS), &settled) == S_OK && settled >= from % (2 * ROWS));
    REQUIRE(settled == from % (2 * ROWS) || settled <= (state.max_rows + state.chunk_rows - 1) / state.chunk_rows * state.chunk_rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!*folder)
        make_recording();
    input = (struct cursor){data, data + size};
    uint64_t handles = hdvlab_live_handles();
    uint32_t how = take8(&input);
    for (uint32_t changes = how >> 5; changes && cursor_more(&input); changes--)
        change();
    for (uint32_t i = 0; i < FILES; i++)
        if (is_dirty[i])
            REQUIRE(!ftruncate(fds[i], 0) && pwrite(fds[i], changed[i], size_of[i], 0) == (ssize_t)size_of[i]);
    int is_live = how & 1; /* somebody holds the lock that a writer holds */
    if (is_live)
        REQUIRE(!flock(fds[HEADER], LOCK_EX | LOCK_NB));
    HDVLAB_TRACE trace = NULL;
    HRESULT hr;
    if (how & 2)
        hr = hdvlab_trace_salvage(folder, how & 4 ? 1024 : take_size(), how & 4 ? CHUNK : (uint32_t)take_size(), &trace);
    else
        hr = hdvlab_trace_attach(folder, &trace);
    if (hr == S_OK) {
        read_all(trace, is_live && !(how & 2));
        if (!(how >> 5) && (!(how & 2) || how & 4)) { /* nothing was changed: all of it is there and whole */
            uint64_t rows;
            uint32_t state, sealed;
            REQUIRE(hdvlab_trace_committed(trace, 0, &rows) == S_OK && rows == ROWS);
            for (uint64_t chunk = 0; chunk * CHUNK < ROWS; chunk++)
                REQUIRE(hdvlab_trace_verify(trace, chunk, &state, &sealed) == S_OK && state == 1);
        }
        REQUIRE(hdvlab_trace_set_time(trace, (int64_t)take64(&input)) == E_ACCESSDENIED);
        int64_t row;
        REQUIRE(hdvlab_trace_mark(trace, HDVLAB_MARK, 0, -1, S_OK, "", 0, &row) == E_ACCESSDENIED);
        REQUIRE(hdvlab_trace_close(trace) == S_OK);
    } else {
        REQUIRE(!trace && FAILED(hr));
    }
    if (is_live)
        REQUIRE(!flock(fds[HEADER], LOCK_UN));
    restore();
    REQUIRE(hdvlab_live_handles() == handles);
    return 0;
}
