#include "compute_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute_document.h"

#define SHOWN 40 /* units of a wrong value that a message shows */

size_t wide_length(const WCHAR *text) {
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

WCHAR *wide_copy(const WCHAR *text) {
    size_t bytes = (wide_length(text) + 1) * sizeof *text;
    WCHAR *copy = malloc(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

/* The form of HCS's own error documents (ResultError, ErrorEvent): the path stands alone in the event's data. */
WCHAR *document_error(HRESULT code, struct json_writer *path, const char *message) {
    struct json_writer full = {0}, w = {0};
    json_write_units(&full, path->text, path->length);
    if (path->length)
        json_write(&full, ": ");
    json_write(&full, message);
    json_write(&w, "{\"Error\":");
    json_write_number(&w, code);
    json_write(&w, ",\"ErrorMessage\":");
    json_write_string(&w, full.text, full.length);
    json_write(&w, ",\"ErrorEvents\":[{\"Message\":");
    json_write_string(&w, full.text, full.length);
    json_write(&w, ",\"Source\":\"vmdevicehost\",\"Data\":[");
    if (path->length) {
        json_write(&w, "{\"Type\":\"String\",\"Value\":");
        json_write_string(&w, path->text, path->length);
        json_write(&w, "}");
    }
    json_write(&w, "]}]}");
    w.failed |= full.failed | path->failed;
    free(full.text);
    free(path->text);
    *path = (struct json_writer){0};
    return json_written(&w);
}

static void write_path(struct json_writer *w, const struct place *place) {
    if (!place)
        return;
    write_path(w, place->outer);
    if (place->name || place->key.at) {
        if (place->outer)
            json_write(w, ".");
        if (place->name)
            json_write(w, place->name);
        else /* as it is written in the document, escapes and all */
            json_write_units(w, place->key.at + 1, (size_t)(place->key.end - place->key.at) - 2);
    } else {
        json_write(w, "[");
        json_write_number(w, place->index);
        json_write(w, "]");
    }
}

HRESULT schema_refuse(struct reading *r, const struct place *place, HRESULT code, const char *message) {
    struct json_writer path = {0};
    write_path(&path, place);
    free(*r->error);
    *r->error = document_error(code, &path, message);
    return code;
}

HRESULT schema_error(struct reading *r, const struct place *place, struct json value, const char *expected) {
    static const char *const kinds[] = {"null", "a boolean", "a number", "a string", "an array", "an object"};
    char message[256 + SHOWN];
    enum json_kind kind = json_kind(value);
    ptrdiff_t units = value.end - value.at;
    int shown = snprintf(message, 256, "%s, found ", expected);
    int plain = kind < JSON_ARRAY && units <= SHOWN;
    for (ptrdiff_t i = 0; i < units && plain; i++)
        plain = value.at[i] >= 0x20 && value.at[i] < 0x7F;
    if (plain)
        for (ptrdiff_t i = 0; i <= units; i++)
            message[shown + i] = i < units ? (char)value.at[i] : 0;
    else
        snprintf(message + shown, SHOWN, "%s", kinds[kind]);
    return schema_refuse(r, place, HCS_E_INVALID_JSON, message);
}

static const struct field *find(const struct field *fields, struct json name) {
    for (; fields->name; fields++)
        if (json_string_is(name, fields->name))
            return fields;
    return NULL;
}

HRESULT schema_object(struct reading *r, const struct place *place, struct json value, const struct field *fields) {
    static const char *const expected[] = {"expected null", "expected true or false", "expected a number",
                                           "expected a string", "expected an array", "expected an object"};
    uint64_t seen = 0;
    struct json_walk walk = json_begin(value);
    while (json_next(&walk)) {
        const struct field *field = find(fields, walk.name);
        struct place here = {.outer = place, .key = walk.name};
        if (!field)
            return schema_refuse(r, &here, HCS_E_INVALID_JSON, "the schema has no such field");
        if (seen >> (field - fields) & 1)
            return schema_refuse(r, &here, HCS_E_INVALID_JSON, "expected once, found twice");
        seen |= 1ull << (field - fields);
        if (field->kind != JSON_ANY && json_kind(walk.value) != field->kind)
            return schema_error(r, &here, walk.value, expected[field->kind]);
        HRESULT hr = field->read ? field->read(r, &here, walk.value) : S_OK;
        if (FAILED(hr))
            return hr;
    }
    for (const struct field *field = fields; field->name; field++)
        if (field->required && !(seen >> (field - fields) & 1)) {
            struct place missing = {.outer = place, .name = field->name};
            return schema_refuse(r, &missing, HCS_E_INVALID_JSON, "missing");
        }
    return S_OK;
}

HRESULT hdvlab_json_check(PCWSTR text, uint64_t *at) {
    if (!text || !at)
        return E_POINTER;
    struct json root;
    struct json_problem problem;
    if (json_check(text, &root, &problem))
        return S_OK;
    *at = (uint64_t)(problem.at - text);
    return HCS_E_INVALID_JSON;
}

HRESULT schema_document(const WCHAR *text, const struct field *fields, void *into, WCHAR **error) {
    if (!text)
        return E_POINTER;
    struct reading r = {.into = into, .error = error};
    struct json root;
    struct json_problem problem;
    if (!json_check(text, &root, &problem)) {
        char where[160];
        int line = 1, column = 1;
        for (const WCHAR *p = text; p < problem.at; p++) {
            column = *p == '\n' ? 1 : column + 1;
            line += *p == '\n';
        }
        snprintf(where, sizeof where, "line %d, column %d: %s", line, column, problem.what);
        return schema_refuse(&r, NULL, HCS_E_INVALID_JSON, where);
    }
    if (json_kind(root) != JSON_OBJECT)
        return schema_error(&r, NULL, root, "expected an object");
    return fields ? schema_object(&r, NULL, root, fields) : S_OK;
}

HRESULT schema_text(struct reading *r, const struct place *place, struct json value, WCHAR **out) {
    WCHAR *text = malloc(((size_t)(value.end - value.at) + 1) * sizeof *text);
    if (!text)
        return E_OUTOFMEMORY;
    size_t length = json_string(value, text);
    text[length] = 0;
    if (wide_length(text) != length) {
        free(text);
        return schema_error(r, place, value, "expected text without a NUL character");
    }
    free(*out);
    *out = text;
    return S_OK;
}

HRESULT schema_texts(struct reading *r, const struct place *place, struct json value, uint32_t *count, WCHAR ***out) {
    struct json_walk walk = json_begin(value);
    size_t units = 0;
    uint32_t n = 0;
    for (; json_next(&walk); n++) {
        struct place element = {.outer = place, .index = (int)n};
        if (json_kind(walk.value) != JSON_STRING)
            return schema_error(r, &element, walk.value, "expected a string");
        units += (size_t)(walk.value.end - walk.value.at) + 1;
    }
    WCHAR **texts = malloc(n * sizeof *texts + units * sizeof **texts + 1);
    if (!texts)
        return E_OUTOFMEMORY;
    WCHAR *at = (WCHAR *)(texts + n);
    walk = json_begin(value);
    for (uint32_t i = 0; json_next(&walk); i++) {
        size_t length = json_string(walk.value, at);
        texts[i] = at;
        at[length] = 0;
        if (wide_length(at) != length) {
            struct place element = {.outer = place, .index = (int)i};
            free(texts);
            return schema_error(r, &element, walk.value, "expected text without a NUL character");
        }
        at += length + 1;
    }
    free(*out);
    *out = texts;
    *count = n;
    return S_OK;
}
