#include "json.h"

static const WCHAR *skip_space(const WCHAR *p) {
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
        p++;
    return p;
}

static int is_digit(WCHAR c) { return c >= '0' && c <= '9'; }

static int hex_digit(WCHAR c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int is_high(uint32_t unit) { return unit >= 0xD800 && unit < 0xDC00; }
static int is_low(uint32_t unit) { return unit >= 0xDC00 && unit < 0xE000; }

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const WCHAR *p) {
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]); /* a NUL is none, so this stops at the end of the text */
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static const WCHAR *fail(struct json_problem *problem, const WCHAR *at, const char *what) {
    problem->at = at;
    problem->what = what;
    return NULL;
}

/* From the opening quote to behind the closing one. */
static const WCHAR *check_string(const WCHAR *p, struct json_problem *problem) {
    uint32_t high = 0; /* a high surrogate waits for its low one */
    for (p++;;) {
        const WCHAR *at = p;
        uint32_t unit = *p++;
        if (unit == '"' && !high)
            return p;
        if (unit < 0x20)
            return fail(problem, at, unit ? "expected no control character in a string" : "expected '\"': the string has no end");
        if (unit == '\\') {
            unit = *p++;
            if (unit == 'u') {
                int32_t code = hex4(p);
                if (code < 0)
                    return fail(problem, at, "expected four hexadecimal digits after \\u");
                unit = (uint32_t)code;
                p += 4;
            } else if (unit != '"' && unit != '\\' && unit != '/' && unit != 'b' && unit != 'f' && unit != 'n' &&
                       unit != 'r' && unit != 't') {
                return fail(problem, at, "expected one of \" \\ / b f n r t u after a backslash");
            }
        }
        if (high ? !is_low(unit) : is_low(unit))
            return fail(problem, at, "expected no half of a surrogate pair");
        high = is_high(unit) ? unit : 0;
    }
}

static const WCHAR *check_number(const WCHAR *p, struct json_problem *problem) {
    if (*p == '-')
        p++;
    if (!is_digit(*p))
        return fail(problem, p, "expected a digit");
    if (*p++ != '0')
        while (is_digit(*p))
            p++;
    else if (is_digit(*p))
        return fail(problem, p, "expected no digit after a leading 0");
    if (*p == '.') {
        if (!is_digit(*++p))
            return fail(problem, p, "expected a digit after the decimal point");
        while (is_digit(*p))
            p++;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        if (!is_digit(*p))
            return fail(problem, p, "expected a digit in the exponent");
        while (is_digit(*p))
            p++;
    }
    return p;
}

static const WCHAR *check_scalar(const WCHAR *p, struct json_problem *problem) {
    static const char *const words[] = {"true", "false", "null"};
    if (*p == '"')
        return check_string(p, problem);
    if (*p == '-' || is_digit(*p))
        return check_number(p, problem);
    for (int i = 0; i < 3; i++) {
        const char *word = words[i];
        size_t n = 0;
        while (word[n] && p[n] == (WCHAR)word[n])
            n++;
        if (!word[n])
            return p + n;
    }
    return fail(problem, p, "expected a value");
}

int json_check(const WCHAR *text, struct json *root, struct json_problem *problem) {
    const WCHAR *p = skip_space(text);
    uint64_t objects = 0; /* bit per level: an object, else an array */
    int depth = 0;
    root->at = p;
    for (;;) { /* a value begins at p */
        if (*p == '{' || *p == '[') {
            int object = *p == '{';
            if (depth == JSON_DEPTH)
                return fail(problem, p, "expected no deeper nesting than 64 levels"), 0;
            objects = (objects & ~(1ull << depth)) | (uint64_t)object << depth;
            depth++;
            p = skip_space(p + 1);
            if (*p != (object ? '}' : ']')) {
                if (!object)
                    continue;
                goto name;
            }
        } else {
            if (!(p = check_scalar(p, problem)))
                return 0;
            goto after;
        }
        p++;
        depth--;
    after: /* a value ended before p */
        if (!depth)
            break;
        p = skip_space(p);
        int object = (int)(objects >> (depth - 1) & 1);
        if (*p == (object ? '}' : ']')) {
            p++;
            depth--;
            goto after;
        }
        if (*p != ',')
            return fail(problem, p, object ? "expected ',' or '}'" : "expected ',' or ']'"), 0;
        p = skip_space(p + 1);
        if (!object)
            continue;
    name:
        if (*p != '"')
            return fail(problem, p, "expected a name in quotes"), 0;
        if (!(p = check_string(p, problem)))
            return 0;
        p = skip_space(p);
        if (*p != ':')
            return fail(problem, p, "expected ':' after the name"), 0;
        p = skip_space(p + 1);
    }
    root->end = p;
    p = skip_space(p);
    return *p ? (fail(problem, p, "expected nothing more"), 0) : 1;
}

enum json_kind json_kind(struct json value) {
    switch (*value.at) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't':
    case 'f': return JSON_BOOL;
    case 'n': return JSON_NULL;
    default: return JSON_NUMBER;
    }
}

int json_true(struct json value) { return *value.at == 't'; }

int json_unsigned(struct json value, uint64_t *number) {
    uint64_t n = 0;
    for (const WCHAR *p = value.at; p < value.end; p++) {
        if (!is_digit(*p) || n > UINT64_MAX / 10 || n * 10 > UINT64_MAX - (uint64_t)(*p - '0'))
            return 0;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    *number = n;
    return 1;
}

/* One unit of a string at *p, which moves on. */
static WCHAR next_unit(const WCHAR **p) {
    WCHAR unit = *(*p)++;
    if (unit != '\\')
        return unit;
    unit = *(*p)++;
    switch (unit) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u':
        unit = (WCHAR)hex4(*p);
        *p += 4;
        return unit;
    default: return unit;
    }
}

size_t json_string(struct json value, WCHAR *out) {
    size_t length = 0;
    for (const WCHAR *p = value.at + 1; p < value.end - 1; length++) {
        WCHAR unit = next_unit(&p);
        if (out)
            out[length] = unit;
    }
    return length;
}

int json_string_is(struct json value, const char *ascii) {
    const WCHAR *p = value.at + 1;
    for (; p < value.end - 1; ascii++)
        if (!*ascii || next_unit(&p) != (WCHAR)*ascii)
            return 0;
    return !*ascii;
}

/* Behind a checked value. */
static const WCHAR *skip_value(const WCHAR *p) {
    int depth = 0;
    do {
        if (*p == '"') {
            for (p++; *p != '"'; p++)
                if (*p == '\\')
                    p++;
            p++;
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            depth--;
            p++;
        } else if (depth) {
            p++;
        } else { /* a number or a word */
            while (is_digit(*p) || *p == '-' || *p == '+' || *p == '.' || (*p >= 'a' && *p <= 'z') || *p == 'E')
                p++;
        }
    } while (depth);
    return p;
}

struct json_walk json_begin(struct json container) {
    return (struct json_walk){.at = container.at + 1, .object = *container.at == '{'};
}

int json_next(struct json_walk *walk) {
    const WCHAR *p = skip_space(walk->at);
    if (*p == ',')
        p = skip_space(p + 1);
    if (*p == '}' || *p == ']')
        return 0;
    if (walk->object) {
        walk->name = (struct json){p, skip_value(p)};
        p = skip_space(walk->name.end);
        p = skip_space(p + 1); /* the colon */
    }
    walk->value = (struct json){p, skip_value(p)};
    walk->at = walk->value.end;
    return 1;
}
