/* The queries that HCS calls take, and options. Ref: as in compute_document.c. */
#include <stdlib.h>

#include "compute_document.h"
#include "compute_schema.h"

static HRESULT read_property_types(struct reading *r, const struct place *place, struct json value) {
    static const char *const known[] = {"Memory", "Statistics", "ProcessList", "TerminateOnLastHandleClosed",
                                        "SharedMemoryRegion", "GuestConnection", "ICHeartbeatStatus"};
    struct query_settings *query = r->into;
    struct json_walk walk = json_begin(value);
    for (int i = 0; json_next(&walk); i++) {
        struct place element = {.outer = place, .index = i};
        size_t n = 0, count = sizeof known / sizeof *known;
        while (json_kind(walk.value) == JSON_STRING && n < count && !json_string_is(walk.value, known[n]))
            n++;
        if (json_kind(walk.value) != JSON_STRING || n == count)
            return schema_error(r, &element, walk.value, "expected a property type like \"Memory\"");
        query->memory |= !n;
    }
    return S_OK;
}

static HRESULT read_ids(struct reading *r, const struct place *place, struct json value) {
    struct query_settings *query = r->into;
    return schema_texts(r, place, value, &query->id_count, &query->ids);
}

static HRESULT read_owners(struct reading *r, const struct place *place, struct json value) {
    struct query_settings *query = r->into;
    return schema_texts(r, place, value, &query->owner_count, &query->owners);
}

static const struct field property_query[] = {{"PropertyTypes", JSON_ARRAY, read_property_types, 0},
                                              {NULL, JSON_NULL, NULL, 0}};
static const struct field system_query[] = {
    {"Ids", JSON_ARRAY, read_ids, 0},   {"Owners", JSON_ARRAY, read_owners, 0}, {"Names", JSON_ARRAY, NULL, 0},
    {"Types", JSON_ARRAY, NULL, 0}, {NULL, JSON_NULL, NULL, 0}};

HRESULT document_read_property_query(const WCHAR *text, struct query_settings *query, WCHAR **error) {
    return text && *text ? schema_document(text, property_query, query, error) : S_OK;
}

HRESULT document_read_system_query(const WCHAR *text, struct query_settings *query, WCHAR **error) {
    return text && *text ? schema_document(text, system_query, query, error) : S_OK;
}

HRESULT document_read_options(const WCHAR *text, WCHAR **error) {
    return text && *text ? schema_document(text, NULL, NULL, error) : S_OK;
}

void query_settings_drop(struct query_settings *query) {
    free(query->ids);
    free(query->owners);
}
