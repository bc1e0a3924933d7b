/* One flexible I/O device: its entry in a document, and the request that adds one. Ref: as in compute_document.c. */
#include <stdlib.h>
#include <string.h>

#include "compute_document.h"
#include "compute_schema.h"
#include "guid_name.h"

/* Namespace of names that are no GUID: the class of flexible I/O devices, as HCS does for SCSI controllers with theirs. */
static const GUID flexible_io = {0xa8679153, 0x843f, 0x467f, {0xad, 0x7e, 0xf4, 0x29, 0x32, 0x8f, 0x75, 0x68}};

HRESULT hdvlab_instance_id(PCWSTR key, GUID *instance) {
    if (!key || !instance)
        return E_POINTER;
    if (!guid_parse(key, wide_length(key), instance))
        *instance = guid_of_name(&flexible_io, key, wide_length(key));
    return S_OK;
}

static HRESULT read_emulator_id(struct reading *r, const struct place *place, struct json value) {
    struct slot_settings *slot = r->into;
    WCHAR text[36 * 6];
    if (value.end - value.at > (ptrdiff_t)(sizeof text / sizeof *text) ||
        !guid_parse(text, json_string(value, text), &slot->class_id))
        return schema_error(r, place, value, "expected a GUID like \"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee\"");
    return S_OK;
}

static HRESULT read_hosting_model(struct reading *r, const struct place *place, struct json value) {
    struct slot_settings *slot = r->into;
    if (json_string_is(value, "External"))
        slot->hosting = HOSTING_EXTERNAL;
    else if (json_string_is(value, "ExternalRestricted"))
        slot->hosting = HOSTING_RESTRICTED;
    else if (json_string_is(value, "Internal"))
        slot->hosting = HOSTING_ANY;
    else
        return schema_error(r, place, value, "expected \"External\" or \"ExternalRestricted\"");
    return S_OK;
}

static HRESULT read_configuration(struct reading *r, const struct place *place, struct json value) {
    struct slot_settings *slot = r->into;
    return schema_texts(r, place, value, &slot->configuration_count, (WCHAR ***)&slot->configuration);
}

static const struct field flexible_io_device[] = {
    {"EmulatorId", JSON_STRING, read_emulator_id, 1},
    {"HostingModel", JSON_STRING, read_hosting_model, 0},
    {"Configuration", JSON_ARRAY, read_configuration, 0},
    {NULL, JSON_NULL, NULL, 0},
};

HRESULT slot_settings_read(struct reading *r, const struct place *place, struct json value, struct slot_settings *slot) {
    struct reading inner = {.error = r->error, .into = slot};
    slot->hosting = HOSTING_ANY;
    HRESULT hr = schema_object(&inner, place, value, flexible_io_device);
    if (hr == S_OK && slot->hosting == HOSTING_ANY) { /* said so, or by default, as in the schema */
        struct place model = {.outer = place, .name = "HostingModel"};
        hr = schema_refuse(r, &model, HCS_E_INVALID_JSON, "\"Internal\", the default, is a device of Hyper-V's own: "
                                                          "expected \"External\" or \"ExternalRestricted\"");
    }
    return hr;
}

/* A key that is a GUID is the instance's; any other name is hashed to one. */
HRESULT slot_settings_name(struct slot_settings *slot, const WCHAR *key, size_t length) {
    WCHAR *text = malloc((length + 1) * sizeof *text);
    if (!text)
        return E_OUTOFMEMORY;
    memcpy(text, key, length * sizeof *text);
    text[length] = 0;
    free(slot->key);
    slot->key = text;
    return hdvlab_instance_id(text, &slot->instance_id);
}

void slot_settings_drop(struct slot_settings *settings) {
    free(settings->key);
    free(settings->configuration);
    memset(settings, 0, sizeof *settings);
}

/* ---- ModifySettingRequest ------------------------------------------------------------------------------------------- */

struct modification {
    WCHAR *path;
    int add;
    struct json settings; /* at NULL: none */
};

static HRESULT read_resource_path(struct reading *r, const struct place *place, struct json value) {
    return schema_text(r, place, value, &((struct modification *)r->into)->path);
}

static HRESULT read_request_type(struct reading *r, const struct place *place, struct json value) {
    struct modification *m = r->into;
    m->add = json_string_is(value, "Add");
    if (!m->add && !json_string_is(value, "Remove") && !json_string_is(value, "Update"))
        return schema_error(r, place, value, "expected \"Add\", \"Remove\" or \"Update\"");
    return S_OK;
}

static HRESULT read_settings(struct reading *r, const struct place *place, struct json value) {
    (void)place;
    ((struct modification *)r->into)->settings = value;
    return S_OK;
}

static const struct field modification[] = {
    {"ResourcePath", JSON_STRING, read_resource_path, 1},
    {"RequestType", JSON_STRING, read_request_type, 0},
    {"Settings", JSON_ANY, read_settings, 0},
    {"GuestRequest", JSON_ANY, NULL, 0},
    {NULL, JSON_NULL, NULL, 0},
};

HRESULT document_read_modify(const WCHAR *text, struct slot_settings *added, WCHAR **error) {
    static const char devices_path[] = "VirtualMachine/Devices/FlexibleIov/";
    struct modification m = {.add = 1};
    struct reading r = {.error = error, .into = added};
    struct place resource = {.name = "ResourcePath"}, type = {.name = "RequestType"}, settings = {.name = "Settings"};
    HRESULT hr = schema_document(text, modification, &m, error);
    if (hr == S_OK) {
        size_t n = 0, prefix = sizeof devices_path - 1;
        while (n < prefix && m.path[n] == (WCHAR)devices_path[n])
            n++;
        if (n < prefix)
            hr = schema_refuse(&r, &resource, HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED),
                               "only VirtualMachine/Devices/FlexibleIov/<key> can be modified");
        else if (!m.path[n])
            hr = schema_refuse(&r, &resource, HCS_E_INVALID_JSON, "expected the device's key after the last '/'");
        else if (!m.add)
            hr = schema_refuse(&r, &type, HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED),
                               "a flexible I/O device can be added, not removed or updated: expected \"Add\"");
        else if (!m.settings.at)
            hr = schema_refuse(&r, &settings, HCS_E_INVALID_JSON, "missing");
        else if (json_kind(m.settings) != JSON_OBJECT)
            hr = schema_error(&r, &settings, m.settings, "expected an object");
        if (hr == S_OK)
            hr = slot_settings_name(added, m.path + n, wide_length(m.path + n));
        if (hr == S_OK)
            hr = slot_settings_read(&r, &settings, m.settings, added);
    }
    free(m.path);
    return hr;
}
