/* The files of a trace directory: making, mapping, growing and giving back. */
#ifndef HDVLAB_TRACE_FILES_H
#define HDVLAB_TRACE_FILES_H

#include "trace.h"

#define HEADER_BYTES 4096
#define PAYLOAD_CHUNK (1ull << 20)
#define PAYLOAD_LEAST (1ull << 30) /* bytes there can be, and 64 more for each row there can be */
#define MAX_ROWS (1ull << 40)

struct trace *trace_make(int writable);
void trace_destroy(void *trace);
/* Opens, or makes, and maps the columns and payload.bin. 0 = done, else errno. */
int trace_map_columns(struct trace *trace, const char *directory);
void trace_close_files(struct trace *trace);
/* Complete rows in the shortest column file: a file that was cut short must not be touched behind its end. */
uint64_t trace_rows_in_files(struct trace *trace);
uint64_t trace_payload_bytes(struct trace *trace); /* what of payload.bin there is */
uint32_t trace_header_crc(const struct trace_header *header);
uint32_t trace_totals_crc(const struct trace_header *header);
HRESULT trace_hresult_of(int error);

/* Gives the space behind the last row back to the file system without making the files shorter: a reader in another
 * process may be about to look there. */
void trace_give_back_tail(struct trace *trace);

#endif
