/* The machine's owner: Hcs calls, each waited for. */
#ifndef LIFE_MACHINE_H
#define LIFE_MACHINE_H

#include "summer.h"

#define SETTINGS(model, configuration)                                           \
    "{\"EmulatorId\": \"" SUMMER_TEXT "\", \"HostingModel\": \"" model "\"," \
    " \"Configuration\": [" configuration "]}"
#define MACHINE(slots)                                                                              \
    "{\"Owner\": \"life\", \"SchemaVersion\": {\"Major\": 2, \"Minor\": 3},"                         \
    " \"ShouldTerminateOnLastHandleClosed\": true,"                                                       \
    " \"VirtualMachine\": {\"ComputeTopology\": {\"Memory\": {\"SizeInMB\": 64}},"                     \
    " \"Devices\": {\"FlexibleIov\": {" slots "}}}}"
#define ADDING(key, settings)                                                                             \
    "{\"ResourcePath\": \"VirtualMachine/Devices/FlexibleIov/" key "\", \"RequestType\": \"Add\","     \
    " \"Settings\": " settings "}"
#define SLOT(key, configuration) "\"" key "\": " SETTINGS("External", configuration)
#define ADD(key, configuration) ADDING(key, SETTINGS("External", configuration))

int contains(PCWSTR text, const char *part);
HCS_OPERATION operation(void);
/* Waits for the operation and ends it. `part`: what its document must have; NULL: any document, or none. */
HRESULT finished(HCS_OPERATION made, const char *part);

/* For calls that take (system, operation, options). */
typedef HRESULT(WINAPI *hcs_call)(HCS_SYSTEM, HCS_OPERATION, PCWSTR);
HRESULT hcs(hcs_call call, HCS_SYSTEM system, PCWSTR options, const char *part);

typedef struct {
    HANDLE arrived;
    int graceful, forced, others;
} exit_news;

HCS_SYSTEM system_create(PCWSTR id, PCWSTR document, exit_news *news);
void system_close(HCS_SYSTEM system, exit_news *news);
void nothing_is_left(void);

#endif
