/* Ref: Microsoft Learn, "JSON Schema Reference" of HCS, schema 2.3. Fields of that schema which say nothing to this
 * machine are accepted as they are (a NULL reader below); a name that the schema does not have is a mistake. */
#include "compute_document.h"

#include <stdlib.h>
#include <string.h>

#include "compute_schema.h"

#define MEGABYTE (1ull << 20)
#define DEFAULT_RAM_MB 64
#define MAX_RAM_MB (1ull << 20) /* 1 TiB */

static HRESULT read_flexible_iov(struct reading *r, const struct place *place, struct json value) {
    struct system_settings *settings = r->into;
    struct json_walk walk = json_begin(value);
    while (json_next(&walk)) {
        struct place entry = {.outer = place, .key = walk.name};
        if (settings->slot_count == HDVLAB_SLOT_COUNT)
            return schema_error(r, place, value, "expected 32 devices at most");
        if (json_kind(walk.value) != JSON_OBJECT)
            return schema_error(r, &entry, walk.value, "expected an object");
        struct slot_settings *slot = &settings->slots[settings->slot_count++];
        WCHAR *key = NULL;
        HRESULT hr = schema_text(r, &entry, walk.name, &key);
        if (hr == S_OK)
            hr = slot_settings_name(slot, key, wide_length(key));
        free(key);
        if (hr == S_OK)
            hr = slot_settings_read(r, &entry, walk.value, slot);
        for (uint32_t i = 0; hr == S_OK && i + 1 < settings->slot_count; i++)
            if (!memcmp(&settings->slots[i].instance_id, &slot->instance_id, sizeof(GUID)))
                hr = schema_error(r, &entry, walk.value, "expected another instance id than the entries before have");
        if (FAILED(hr))
            return hr;
    }
    return S_OK;
}

static HRESULT read_memory_size(struct reading *r, const struct place *place, struct json value) {
    struct system_settings *settings = r->into;
    uint64_t megabytes;
    if (!json_unsigned(value, &megabytes) || !megabytes || megabytes > MAX_RAM_MB)
        return schema_error(r, place, value, "expected a whole number from 1 to 1048576");
    settings->ram_bytes = megabytes * MEGABYTE;
    return S_OK;
}

static HRESULT read_processor_count(struct reading *r, const struct place *place, struct json value) {
    uint64_t count; /* checked and no more: a guest is whichever threads access the machine */
    if (!json_unsigned(value, &count) || !count || count > UINT32_MAX)
        return schema_error(r, place, value, "expected a whole number from 1 to 4294967295");
    return S_OK;
}

static HRESULT read_major(struct reading *r, const struct place *place, struct json value) {
    uint64_t version;
    if (!json_unsigned(value, &version) || version != 2)
        return schema_error(r, place, value, "expected 2");
    return S_OK;
}

static HRESULT read_minor(struct reading *r, const struct place *place, struct json value) {
    uint64_t version;
    if (!json_unsigned(value, &version) || version > UINT32_MAX)
        return schema_error(r, place, value, "expected a whole number");
    return S_OK;
}

static HRESULT read_owner(struct reading *r, const struct place *place, struct json value) {
    return schema_text(r, place, value, &((struct system_settings *)r->into)->owner);
}

static HRESULT read_terminate(struct reading *r, const struct place *place, struct json value) {
    (void)place;
    ((struct system_settings *)r->into)->terminate_on_last_close = json_true(value);
    return S_OK;
}

static HRESULT read_other_machine(struct reading *r, const struct place *place, struct json value) {
    return schema_error(r, place, value, "containers and hosted systems are not to be had here: expected VirtualMachine");
}

#define OBJECT_READER(function, fields)                                                                               \
    static HRESULT function(struct reading *r, const struct place *place, struct json value) {                         \
        return schema_object(r, place, value, fields);                                                                 \
    }

static const struct field version[] = {
    {"Major", JSON_NUMBER, read_major, 1}, {"Minor", JSON_NUMBER, read_minor, 0}, {NULL, JSON_NULL, NULL, 0}};
OBJECT_READER(read_version, version)

static const struct field memory[] = {
    {"SizeInMB", JSON_NUMBER, read_memory_size, 0},    {"AllowOvercommit", JSON_BOOL, NULL, 0},
    {"BackingPageSize", JSON_STRING, NULL, 0},         {"PinBackingPages", JSON_BOOL, NULL, 0},
    {"ForbidSmallBackingPages", JSON_BOOL, NULL, 0},   {"EnableHotHint", JSON_BOOL, NULL, 0},
    {"EnableColdHint", JSON_BOOL, NULL, 0},            {"EnableColdDiscardHint", JSON_BOOL, NULL, 0},
    {"EnableDeferredCommit", JSON_BOOL, NULL, 0},      {"LowMmioGapInMB", JSON_NUMBER, NULL, 0},
    {"HighMmioBaseInMB", JSON_NUMBER, NULL, 0},        {"HighMmioGapInMB", JSON_NUMBER, NULL, 0},
    {NULL, JSON_NULL, NULL, 0},
};
OBJECT_READER(read_memory, memory)

static const struct field processor[] = {
    {"Count", JSON_NUMBER, read_processor_count, 0},       {"Limit", JSON_NUMBER, NULL, 0},
    {"Weight", JSON_NUMBER, NULL, 0},                      {"ExposeVirtualizationExtensions", JSON_BOOL, NULL, 0},
    {"EnablePerfmonPmu", JSON_BOOL, NULL, 0},              {"EnablePerfmonPebs", JSON_BOOL, NULL, 0},
    {"EnablePerfmonLbr", JSON_BOOL, NULL, 0},              {"EnablePerfmonIpt", JSON_BOOL, NULL, 0},
    {NULL, JSON_NULL, NULL, 0},
};
OBJECT_READER(read_processor, processor)

static const struct field topology[] = {
    {"Memory", JSON_OBJECT, read_memory, 0}, {"Processor", JSON_OBJECT, read_processor, 0}, {NULL, JSON_NULL, NULL, 0}};
OBJECT_READER(read_topology, topology)

static const struct field devices[] = {
    {"FlexibleIov", JSON_OBJECT, read_flexible_iov, 0},
    {"ComPorts", JSON_OBJECT, NULL, 0},         {"VirtioSerial", JSON_OBJECT, NULL, 0},
    {"Scsi", JSON_OBJECT, NULL, 0},             {"VirtualPMem", JSON_OBJECT, NULL, 0},
    {"NetworkAdapters", JSON_OBJECT, NULL, 0},  {"VideoMonitor", JSON_OBJECT, NULL, 0},
    {"Keyboard", JSON_OBJECT, NULL, 0},         {"Mouse", JSON_OBJECT, NULL, 0},
    {"HvSocket", JSON_OBJECT, NULL, 0},         {"EnhancedModeVideo", JSON_OBJECT, NULL, 0},
    {"GuestCrashReporting", JSON_OBJECT, NULL, 0}, {"VirtualSmb", JSON_OBJECT, NULL, 0},
    {"Plan9", JSON_OBJECT, NULL, 0},            {"Battery", JSON_OBJECT, NULL, 0},
    {"SharedMemory", JSON_OBJECT, NULL, 0},     {"VirtualPci", JSON_OBJECT, NULL, 0},
    {NULL, JSON_NULL, NULL, 0},
};
OBJECT_READER(read_devices, devices)

static const struct field virtual_machine[] = {
    {"ComputeTopology", JSON_OBJECT, read_topology, 0},
    {"Devices", JSON_OBJECT, read_devices, 0},
    {"StopOnReset", JSON_BOOL, NULL, 0},      {"Chipset", JSON_OBJECT, NULL, 0},
    {"GuestState", JSON_OBJECT, NULL, 0},     {"RestoreState", JSON_OBJECT, NULL, 0},
    {"RegistryChanges", JSON_OBJECT, NULL, 0}, {"StorageQoS", JSON_OBJECT, NULL, 0},
    {"GuestConnection", JSON_OBJECT, NULL, 0}, {NULL, JSON_NULL, NULL, 0},
};
OBJECT_READER(read_virtual_machine, virtual_machine)

static const struct field compute_system[] = {
    {"Owner", JSON_STRING, read_owner, 0},
    {"SchemaVersion", JSON_OBJECT, read_version, 0},
    {"ShouldTerminateOnLastHandleClosed", JSON_BOOL, read_terminate, 0},
    {"VirtualMachine", JSON_OBJECT, read_virtual_machine, 1},
    {"HostingSystemId", JSON_STRING, read_other_machine, 0},
    {"HostedSystem", JSON_OBJECT, read_other_machine, 0},
    {"Container", JSON_OBJECT, read_other_machine, 0},
    {NULL, JSON_NULL, NULL, 0},
};

HRESULT document_read_system(const WCHAR *text, struct system_settings *settings, WCHAR **error) {
    settings->ram_bytes = DEFAULT_RAM_MB * MEGABYTE;
    return schema_document(text, compute_system, settings, error);
}

void system_settings_drop(struct system_settings *settings) {
    free(settings->owner);
    settings->owner = NULL;
    for (uint32_t i = 0; i < settings->slot_count; i++)
        slot_settings_drop(&settings->slots[i]);
    settings->slot_count = 0;
}
