/* The JSON documents that HCS calls take, as settings; and what is wrong with one, as HCS writes it. */
#ifndef HDVLAB_COMPUTE_DOCUMENT_H
#define HDVLAB_COMPUTE_DOCUMENT_H

#include "json_writer.h"
#include "system.h"

/* One FlexibleIov entry. */
struct slot_settings {
    WCHAR *key; /* as the document names it */
    GUID class_id, instance_id;
    int hosting; /* enum hosting */
    uint32_t configuration_count;
    LPCWSTR *configuration; /* one allocation */
};

struct system_settings {
    WCHAR *owner; /* NULL = none given */
    uint64_t ram_bytes;
    int terminate_on_last_close;
    uint32_t slot_count;
    struct slot_settings slots[HDVLAB_SLOT_COUNT];
};

struct query_settings {
    int memory;            /* properties: "Memory" was asked for */
    WCHAR **ids, **owners; /* enumeration: only these; one allocation each; NULL = all */
    uint32_t id_count, owner_count;
};

/* HCS_E_INVALID_JSON and others; then *error is the error document, which the caller frees. Settings are to be dropped
 * in either case. NULL text: E_POINTER, or nothing where the document is optional. */
HRESULT document_read_system(const WCHAR *text, struct system_settings *settings, WCHAR **error);
HRESULT document_read_modify(const WCHAR *text, struct slot_settings *added, WCHAR **error);
HRESULT document_read_property_query(const WCHAR *text, struct query_settings *query, WCHAR **error);
HRESULT document_read_system_query(const WCHAR *text, struct query_settings *query, WCHAR **error);
/* Options of a call, which must be an object if they are there; nothing in them is used. */
HRESULT document_read_options(const WCHAR *text, WCHAR **error);

void system_settings_drop(struct system_settings *settings);
void slot_settings_drop(struct slot_settings *settings);
void query_settings_drop(struct query_settings *query);

/* An error document: `path` (ASCII or UTF-16 pieces already in the writer; may be empty) and what is wrong there. */
WCHAR *document_error(HRESULT code, struct json_writer *path, const char *message);

size_t wide_length(const WCHAR *text);
WCHAR *wide_copy(const WCHAR *text);

#endif
