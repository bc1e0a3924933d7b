/* Writes JSON documents as NUL-terminated UTF-16 text that grows as needed. */
#ifndef HDVLAB_JSON_WRITER_H
#define HDVLAB_JSON_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "WindowsTypes.h"

struct json_writer {
    WCHAR *text; /* malloc'ed; NULL until something is written */
    size_t length, size;
    int failed; /* out of memory: what was written is incomplete */
};

void json_write(struct json_writer *w, const char *ascii); /* as it is */
void json_write_units(struct json_writer *w, const WCHAR *units, size_t count);
void json_write_number(struct json_writer *w, int64_t number);
void json_write_guid(struct json_writer *w, const GUID *guid); /* lower case, no quotes */
/* In quotes, escaped. */
void json_write_string(struct json_writer *w, const WCHAR *text, size_t length);
/* The document, which the caller frees; NULL when it failed. */
WCHAR *json_written(struct json_writer *w);

#endif
