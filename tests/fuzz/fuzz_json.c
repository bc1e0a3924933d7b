/* The JSON reader against a second one that is written the plain way, and the HCS documents that are read with it: a
 * refused document comes with an error document, which is JSON itself, and nothing is left. */
#include "document.h"

#include "../../hdvlab/_core/src/compute_document.h"
#include "../../hdvlab/_core/src/json_writer.h"

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
