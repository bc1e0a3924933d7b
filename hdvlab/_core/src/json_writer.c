#include "json_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_write_units(struct json_writer *w, const WCHAR *units, size_t count) {
    if (w->failed)
        return;
    if (w->length + count + 1 > w->size) {
        size_t size = (w->length + count + 1) * 2 + 64;
        WCHAR *text = realloc(w->text, size * sizeof *text);
        if (!text) {
            w->failed = 1;
            return;
        }
        w->text = text;
        w->size = size;
    }
    if (count)
        memcpy(w->text + w->length, units, count * sizeof *units);
    w->length += count;
    w->text[w->length] = 0;
}

void json_write(struct json_writer *w, const char *ascii) {
    for (; *ascii; ascii++)
        json_write_units(w, &(WCHAR){(WCHAR)(unsigned char)*ascii}, 1);
}

void json_write_number(struct json_writer *w, int64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)number);
    json_write(w, digits);
}

void json_write_guid(struct json_writer *w, const GUID *g) {
    char text[37];
    const uint8_t *d = g->Data4;
    snprintf(text, sizeof text, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", g->Data1, g->Data2, g->Data3, d[0],
             d[1], d[2], d[3], d[4], d[5], d[6], d[7]);
    json_write(w, text);
}

void json_write_string(struct json_writer *w, const WCHAR *text, size_t length) {
    json_write(w, "\"");
    for (size_t i = 0; i < length; i++) {
        char escape[8];
        if (text[i] == '"' || text[i] == '\\') {
            json_write(w, "\\");
        } else if (text[i] < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", text[i]);
            json_write(w, escape);
            continue;
        }
        json_write_units(w, text + i, 1);
    }
    json_write(w, "\"");
}

WCHAR *json_written(struct json_writer *w) {
    json_write_units(w, NULL, 0);
    WCHAR *text = w->text;
    if (w->failed) {
        free(text);
        text = NULL;
    }
    *w = (struct json_writer){0};
    return text;
}
