/* A strict JSON reader over UTF-16 text (RFC 8259) that allocates nothing: the text is checked once as a whole, then
 * values are looked at in place. Lone surrogates are refused; so is nesting deeper than JSON_DEPTH. */
#ifndef HDVLAB_JSON_H
#define HDVLAB_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "WindowsTypes.h"

#define JSON_DEPTH 64

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* A value within checked text. */
struct json {
    const WCHAR *at, *end;
};

struct json_problem {
    const WCHAR *at;
    const char *what; /* "expected ..." */
};

/* Whether NUL-terminated `text` is one JSON value; *root is that value, or *problem says where and why it is none. */
int json_check(const WCHAR *text, struct json *root, struct json_problem *problem);

enum json_kind json_kind(struct json value);
int json_true(struct json value);
/* Whether a number is a whole one that fits, written without fraction or exponent. */
int json_unsigned(struct json value, uint64_t *number);
/* The text of a string, without a NUL; returns its length in units. `out` may be NULL; end - at units are enough. */
size_t json_string(struct json value, WCHAR *out);
int json_string_is(struct json value, const char *ascii);

/* The members of an object or the elements of an array: begin, then next until it returns 0. */
struct json_walk {
    const WCHAR *at;
    int object;
    struct json name, value; /* name: of members only */
};
struct json_walk json_begin(struct json container);
int json_next(struct json_walk *walk);

#endif
