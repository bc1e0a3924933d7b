/* Documents out of the fuzzer's bytes, good, spoilt or anything, and a plain reader that tells which are JSON. */
#ifndef FUZZ_DOCUMENT_H
#define FUZZ_DOCUMENT_H

#include "cursor.h"

/* The reader is no part of the library's surface. */
#include "../../hdvlab/_core/src/json.h"

#define UNITS 2048u

static struct cursor input;
static WCHAR text[UNITS + 1];
static size_t length;

/* ---- documents ---------------------------------------------------------------------------------------------------- */

static void put(WCHAR unit) {
    if (length < UNITS)
        text[length++] = unit;
}
static void put_text(const char *ascii) {
    while (*ascii)
        put((WCHAR)*ascii++);
}

static const char *const words[] = {
    "Owner", "SchemaVersion", "Major", "Minor", "VirtualMachine", "ComputeTopology", "Memory", "SizeInMB", "Processor",
    "Count", "Devices", "FlexibleIov", "EmulatorId", "HostingModel", "Configuration", "External", "ExternalRestricted",
    "Internal", "ShouldTerminateOnLastHandleClosed", "ResourcePath", "RequestType", "Settings", "Add", "Remove",
    "VirtualMachine/Devices/FlexibleIov/", "PropertyTypes", "Ids", "Owners", "StopOnReset", "HostingSystemId",
    "11111111-2222-3333-4444-555555555555", "{AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE}",
    "VirtualMachine/Devices/FlexibleIov/11111111-2222-3333-4444-555555555555", "", "k=v", "Statistics", "GuestRequest"};
#define WORDS (sizeof words / sizeof *words)

static void put_string(void) {
    static const char *const escapes[] = {"\\u0000", "\\uD800", "\\uDC00", "\\uD83D\\uDE00", "\\n", "\\x", "\\u12g4", "\\\""};
    put('"');
    uint8_t how = take8(&input);
    if (how < 0xE0)
        put_text(words[how % WORDS]);
    else if (how < 0xF0)
        put_text(escapes[how & 7]);
    else
        for (uint32_t i = how & 7; i; i--)
            put(take16(&input));
    put('"');
}

static void put_value(int depth) {
    static const char *const scalars[] = {"true", "false", "null", "0", "2", "256", "18446744073709551616", "-1", "1.5e3",
                                          "1048576", "01", "nul", "1e", ""};
    uint8_t how = take8(&input);
    uint32_t count = how >> 4 & 7;
    if (depth > 70 || !cursor_more(&input) || (how & 15) < 3) {
        put_text(scalars[how % (sizeof scalars / sizeof *scalars)]);
    } else if ((how & 15) < 7) {
        put_string();
    } else if ((how & 15) < 13) {
        put('{');
        for (uint32_t i = 0; i < count; i++) {
            put_string();
            put(':');
            put_value(depth + 1);
            if (i + 1 < count)
                put(',');
        }
        put('}');
    } else {
        put('[');
        for (uint32_t i = 0; i < count; i++) {
            put_value(depth + 1);
            if (i + 1 < count)
                put(take8(&input) & 63 ? ',' : ' ');
        }
        put(']');
    }
}

/* A good document of a system or a modification, to be spoilt in one place. */
static void put_good(uint32_t which) {
    static const char *const good[] = {
        ("{\"Owner\":\"me\",\"SchemaVersion\":{\"Major\":2,\"Minor\":1},\"VirtualMachine\":{\"ComputeTopology\":{\"Memory\":"
        "{\"SizeInMB\":64},\"Processor\":{\"Count\":2}},\"Devices\":{\"FlexibleIov\":{\"11111111-2222-3333-4444-555555555555\":"
        "{\"EmulatorId\":\"AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\",\"HostingModel\":\"External\",\"Configuration\":[\"k=v\",\"\"]},"
        "\"name\":{\"EmulatorId\":\"AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\",\"HostingModel\":\"External\"}}}}}"),
        ("{\"ResourcePath\":\"VirtualMachine/Devices/FlexibleIov/11111111-2222-3333-4444-555555555555\",\"RequestType\":\"Add\","
        "\"Settings\":{\"EmulatorId\":\"AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\",\"HostingModel\":\"External\"}}"),
        "{\"PropertyTypes\":[\"Memory\",\"Statistics\"]}", "{\"Ids\":[\"iA\",\"b\"],\"Owners\":[\"me\"]}",
        "{\"VirtualMachine\":{}}",
        ("{\"ResourcePath\":\"VirtualMachine/Devices/FlexibleIov/other\",\"RequestType\":\"Add\","
        "\"Settings\":{\"EmulatorId\":\"AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\",\"HostingModel\":\"External\",\"Configuration\":[\"k\"]}}"),
        ("{\"ShouldTerminateOnLastHandleClosed\":true,\"VirtualMachine\":{\"Devices\":{\"FlexibleIov\":{\"name\":"
        "{\"EmulatorId\":\"AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\",\"HostingModel\":\"External\"}}}}}"),
        "{}"};
    put_text(good[which & 7]);
}

static void take_text(void) {
    uint8_t how = take8(&input);
    length = 0;
    switch (how & 3) {
    case 0:
        while (cursor_more(&input))
            put(take8(&input));
        break;
    case 1:
        while (cursor_more(&input))
            put(take16(&input));
        break;
    case 2: put_value(0); break;
    default:
        put_good(how >> 2);
        for (uint32_t i = how >> 5; i && cursor_more(&input); i--) {
            size_t at = take16(&input) % length;
            uint8_t what = take8(&input);
            if (what & 1) { /* a piece of it goes */
                size_t gone = 1 + (what >> 1) % 16;
                gone = gone < length - at ? gone : length - at - (at == 0);
                memmove(text + at, text + at + gone, (length - at - gone) * sizeof *text);
                length -= gone;
            } else {
                text[at] = what & 2 ? take16(&input) : (WCHAR)"\"{}[],:0aE-."[(what >> 2) % 12];
            }
            if (!length)
                put('{');
        }
    }
    text[length] = 0;
}

/* ---- a second reader ---------------------------------------------------------------------------------------------- */

static const WCHAR *space(const WCHAR *p) {
    while (*p && *p < 128 && strchr(" \t\n\r", *p))
        p++;
    return p;
}

static int hexadecimal(const WCHAR *p, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < 4; i++) {
        if (!p[i] || p[i] > 127 || !strchr("0123456789abcdefABCDEF", p[i]))
            return 0;
        *code = *code * 16 + (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    }
    return 1;
}

static const WCHAR *plain_string(const WCHAR *p) {
    if (*p++ != '"')
        return NULL;
    for (uint32_t expects_low = 0; *p != '"' || expects_low;) {
        uint32_t unit = *p++;
        if (unit < 32)
            return NULL;
        if (unit == '\\') {
            unit = *p++;
            if (unit == 'u') {
                if (!hexadecimal(p, &unit))
                    return NULL;
                p += 4;
            } else if (!unit || unit > 127 || !strchr("\"\\/bfnrt", (int)unit)) {
                return NULL;
            }
        }
        uint32_t half = unit & 0xFC00;
        if ((half == 0xDC00) != (expects_low != 0))
            return NULL;
        expects_low = half == 0xD800;
    }
    return p + 1;
}

static const WCHAR *digits(const WCHAR *p) {
    if (*p < '0' || *p > '9')
        return NULL;
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

static const WCHAR *plain_number(const WCHAR *p) {
    p += *p == '-';
    p = *p == '0' ? p + 1 : digits(p);
    if (p && *p == '.')
        p = digits(p + 1);
    if (p && (*p | 32) == 'e') {
        p++;
        p = digits(p + (*p == '+' || *p == '-'));
    }
    return p;
}

static const WCHAR *plain_value(const WCHAR *p, int depth) {
    static const char *const names[] = {"true", "false", "null"};
    if (*p == '"')
        return plain_string(p);
    if (*p != '{' && *p != '[') {
        for (int i = 0; i < 3; i++) {
            size_t n = 0;
            while (names[i][n] && p[n] == (WCHAR)names[i][n])
                n++;
            if (!names[i][n])
                return p + n;
        }
        return plain_number(p);
    }
    WCHAR close = *p == '{' ? '}' : ']';
    if (depth == JSON_DEPTH)
        return NULL;
    p = space(p + 1);
    if (*p == close)
        return p + 1;
    for (;;) {
        if (close == '}') {
            if (!(p = plain_string(p)) || *(p = space(p)) != ':')
                return NULL;
            p = space(p + 1);
        }
        if (!(p = plain_value(p, depth + 1)))
            return NULL;
        p = space(p);
        if (*p == close)
            return p + 1;
        if (*p != ',')
            return NULL;
        p = space(p + 1);
    }
}

static int is_json(const WCHAR *p) {
    p = plain_value(space(p), 0);
    return p && !*space(p);
}

#endif
