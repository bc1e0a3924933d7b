/* The JSON reader against a second one that is written the plain way, and the HCS documents that are read with it: a
 * refused document comes with an error document, which is JSON itself, and nothing is left. */
#include "cursor.h"

/* The reader is no part of the library's surface. */
#include "../../hdvlab/_core/src/compute_document.h"
#include "../../hdvlab/_core/src/json.h"
#include "../../hdvlab/_core/src/json_writer.h"

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
        "\"name\":{\"EmulatorId\":\"AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\"}}}}}"),
        ("{\"ResourcePath\":\"VirtualMachine/Devices/FlexibleIov/11111111-2222-3333-4444-555555555555\",\"RequestType\":\"Add\","
        "\"Settings\":{\"EmulatorId\":\"AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\",\"HostingModel\":\"External\"}}"),
        "{\"PropertyTypes\":[\"Memory\",\"Statistics\"]}", "{\"Ids\":[\"a\",\"b\"],\"Owners\":[\"me\"]}"};
    put_text(good[which & 3]);
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
        for (uint32_t i = how >> 4; i && cursor_more(&input); i--) {
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

/* ---- what is read is what is written ------------------------------------------------------------------------------ */

static void write_string(struct json_writer *w, struct json value) {
    WCHAR *plain = malloc((size_t)(value.end - value.at) * sizeof *plain);
    size_t units = json_string(value, plain);
    REQUIRE(units <= (size_t)(value.end - value.at) - 2 && units == json_string(value, NULL));
    json_write_string(w, plain, units);
    free(plain);
}

/* Every value, walked as the library does. */
static void write_again(struct json_writer *w, struct json value) {
    REQUIRE(value.at && value.at < value.end);
    enum json_kind kind = json_kind(value);
    int members = 0;
    uint64_t number;
    struct json_walk walk;
    switch (kind) {
    case JSON_NULL: json_write(w, "null"); break;
    case JSON_BOOL: json_write(w, json_true(value) ? "true" : "false"); break;
    case JSON_NUMBER:
        if (json_unsigned(value, &number))
            REQUIRE(plain_number(value.at) == value.end && *value.at != '-');
        json_write_units(w, value.at, (size_t)(value.end - value.at));
        break;
    case JSON_STRING:
        (void)json_string_is(value, "Owner");
        write_string(w, value);
        break;
    default:
        json_write(w, kind == JSON_OBJECT ? "{" : "[");
        for (walk = json_begin(value); json_next(&walk); members++) {
            if (members)
                json_write(w, ",");
            if (kind == JSON_OBJECT) {
                REQUIRE(json_kind(walk.name) == JSON_STRING);
                write_string(w, walk.name);
                json_write(w, ":");
            }
            REQUIRE(walk.value.at > value.at && walk.value.end < value.end);
            write_again(w, walk.value);
        }
        json_write(w, kind == JSON_OBJECT ? "}" : "]");
    }
}

static WCHAR *rewritten(const WCHAR *from) {
    struct json root;
    struct json_problem problem;
    struct json_writer w = {0};
    REQUIRE(json_check(from, &root, &problem));
    write_again(&w, root);
    WCHAR *result = json_written(&w);
    REQUIRE(result);
    return result;
}

static void check_reader(void) {
    struct json root;
    struct json_problem problem = {NULL, NULL};
    int good = json_check(text, &root, &problem);
    REQUIRE(good == is_json(text));
    if (!good) {
        REQUIRE(problem.at >= text && problem.at <= text + length && problem.what && !strncmp(problem.what, "expected", 8));
        return;
    }
    WCHAR *once = rewritten(text), *twice = rewritten(once);
    REQUIRE(wide_length(once) == wide_length(twice) && !memcmp(once, twice, wide_length(once) * sizeof *once));
    free(once);
    free(twice);
}

/* S_OK without an error document, or a failure with one that is JSON and says the same code. */
static void check_result(HRESULT hr, WCHAR *error) {
    REQUIRE(FAILED(hr) == (error != NULL));
    REQUIRE(!error || is_json(error));
    if (*text && !is_json(text)) /* options and queries may be empty */
        REQUIRE(FAILED(hr));
    free(error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input = (struct cursor){data, data + size};
    take_text();
    check_reader();
    WCHAR *error = NULL;
    struct system_settings *settings = calloc(1, sizeof *settings);
    HRESULT hr = document_read_system(text, settings, &error);
    check_result(hr, error);
    if (hr == S_OK) {
        REQUIRE(settings->slot_count <= HDVLAB_SLOT_COUNT && settings->ram_bytes % 4096 == 0);
        for (uint32_t i = 0; i < settings->slot_count; i++)
            for (uint32_t j = 0; j < settings->slots[i].configuration_count; j++)
                REQUIRE(wide_length(settings->slots[i].configuration[j]) <= length);
    }
    system_settings_drop(settings);
    free(settings);
    struct slot_settings slot = {0};
    error = NULL;
    hr = document_read_modify(text, &slot, &error);
    check_result(hr, error);
    slot_settings_drop(&slot);
    struct query_settings query = {0}, other = {0};
    error = NULL;
    hr = document_read_property_query(text, &query, &error);
    check_result(hr, error);
    query_settings_drop(&query);
    error = NULL;
    hr = document_read_system_query(text, &other, &error);
    check_result(hr, error);
    query_settings_drop(&other);
    error = NULL;
    hr = document_read_options(text, &error);
    check_result(hr, error);
    return 0;
}
