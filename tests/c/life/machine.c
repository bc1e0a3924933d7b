#include "machine.h"

#include <string.h>

#include "check.h"

int contains(PCWSTR text, const char *part) {
    size_t i;
    for (; text != NULL && *text != 0; text++) {
        for (i = 0; part[i] != 0 && text[i] == (WCHAR)part[i]; i++) {
        }
        if (part[i] == 0) return 1;
    }
    return 0;
}

HCS_OPERATION operation(void) {
    HCS_OPERATION made = HcsCreateOperation(NULL, NULL);
    THAT(made != NULL);
    return made;
}

HRESULT finished(HCS_OPERATION made, const char *part) {
    PWSTR document = NULL;
    HRESULT result = HcsWaitForOperationResult(made, PATIENCE_MS, &document);
    if (part != NULL) expect(contains(document, part), part, __FILE__, __LINE__, result);
    LocalFree(document);
    HcsCloseOperation(made);
    return result;
}

HRESULT hcs(hcs_call call, HCS_SYSTEM system, PCWSTR options, const char *part) {
    HCS_OPERATION made = operation();
    OK(call(system, made, options));
    return finished(made, part);
}

static void CALLBACK on_event(HCS_EVENT *event, void *context) {
    exit_news *news = (exit_news *)context;
    if (event->Type == HcsEventSystemExited) {
        news->graceful = contains(event->EventData, "GracefulExit");
        news->forced = contains(event->EventData, "ForcedExit");
        event_set(news->arrived);
    } else news->others++;
}

HCS_SYSTEM system_create(PCWSTR id, PCWSTR document, exit_news *news) {
    HCS_SYSTEM made = NULL;
    HCS_OPERATION creation = operation();
    OK(HcsCreateComputeSystem(id, document, creation, NULL, &made));
    OK(finished(creation, NULL));
    THAT(made != NULL);
    memset(news, 0, sizeof *news);
    news->arrived = event_create();
    OK(HcsSetComputeSystemCallback(made, HcsEventOptionNone, news, on_event));
    return made;
}

void system_close(HCS_SYSTEM system, exit_news *news) {
    HcsCloseComputeSystem(system);
    THAT(news->others == 0);
    event_close(news->arrived);
}

/* The threads that did the last calls may be about to give back what they hold. */
void nothing_is_left(void) {
    HANDLE never = event_create();
    int waits;
    for (waits = 0; hdvlab_live_handles() != 0 && waits < PATIENCE_MS; waits++) THAT(!event_wait(never, 1));
    THAT(hdvlab_live_handles() == 0);
    event_close(never);
    step("nothing is left");
}
