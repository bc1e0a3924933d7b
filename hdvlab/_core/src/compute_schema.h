/* Reads checked JSON against tables of fields, and says of a mistake where it is and what was expected. */
#ifndef HDVLAB_COMPUTE_SCHEMA_H
#define HDVLAB_COMPUTE_SCHEMA_H

#include "ComputeDefs.h"
#include "json.h"

#define JSON_ANY ((enum json_kind)99)

struct reading {
    void *into;    /* what the readers fill */
    WCHAR **error; /* the error document */
};

/* A place in a document, as a chain towards its root: a field, a key of a map, or an element. */
struct place {
    const struct place *outer;
    const char *name; /* NULL: a key, or an element when that is none either */
    struct json key;
    int index;
};

struct field {
    const char *name; /* NULL ends the table */
    enum json_kind kind;
    HRESULT (*read)(struct reading *r, const struct place *place, struct json value); /* NULL = of no use here */
    int required;
};

/* A whole document, whose root is an object of `fields` (NULL: any object). NULL text: E_POINTER. */
HRESULT schema_document(const WCHAR *text, const struct field *fields, void *into, WCHAR **error);
HRESULT schema_object(struct reading *r, const struct place *place, struct json value, const struct field *fields);
/* HCS_E_INVALID_JSON with a document: "<path>: <expected>, found <value>". */
HRESULT schema_error(struct reading *r, const struct place *place, struct json value, const char *expected);
/* `code` with a document: "<path>: <message>". */
HRESULT schema_refuse(struct reading *r, const struct place *place, HRESULT code, const char *message);
/* A string as new NUL-terminated text in *out, for free. */
HRESULT schema_text(struct reading *r, const struct place *place, struct json value, WCHAR **out);
/* An array of strings, in one allocation. */
HRESULT schema_texts(struct reading *r, const struct place *place, struct json value, uint32_t *count, WCHAR ***out);

struct slot_settings;
/* compute_slot.c: a FlexibleIoDevice; and the instance id that a key of FlexibleIov stands for. */
HRESULT slot_settings_read(struct reading *r, const struct place *place, struct json value, struct slot_settings *slot);
HRESULT slot_settings_name(struct slot_settings *slot, const WCHAR *key, size_t length);

#endif
