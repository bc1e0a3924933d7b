/* The calls on a compute system that an operation tracks: check, queue, return. */
#include <stdlib.h>

#include "compute_system.h"
#include "handle.h"

typedef HRESULT (*document_reader)(const WCHAR *text, struct job *job, WCHAR **error);

static HRESULT read_options(const WCHAR *text, struct job *job, WCHAR **error) {
    (void)job;
    return document_read_options(text, error);
}

static HRESULT read_modify(const WCHAR *text, struct job *job, WCHAR **error) {
    return document_read_modify(text, &job->added, error);
}

static HRESULT read_properties(const WCHAR *text, struct job *job, WCHAR **error) {
    return document_read_property_query(text, &job->query, error);
}

static HRESULT read_systems(const WCHAR *text, struct job *job, WCHAR **error) {
    return document_read_system_query(text, &job->query, error);
}

/* With a reference on `system`, which it gives back; NULL for a call on none. */
static HRESULT call(struct system *system, HCS_SYSTEM handle, HCS_OPERATION operation, HCS_OPERATION_TYPE type,
                    PCWSTR text, document_reader read) {
    struct operation *tracked = NULL;
    HRESULT hr = operation_begin(operation, type, handle, &tracked);
    struct job *job = hr == S_OK ? calloc(1, sizeof *job) : NULL;
    if (hr == S_OK) {
        WCHAR *error = NULL;
        hr = job ? read(text, job, &error) : E_OUTOFMEMORY;
        if (FAILED(hr))
            operation_refuse(tracked, hr, error);
    }
    if (hr == S_OK) {
        job->type = type;
        job->compute = system ? system->compute : NULL;
        job->operation = tracked;
        job->handle = handle;
        if (system)
            handle_retain(system->handle);
        hr = compute_submit(job);
    } else if (job) {
        slot_settings_drop(&job->added);
        query_settings_drop(&job->query);
        free(job);
    }
    if (system)
        handle_release(handle);
    return hr;
}

static HRESULT call_system(HCS_SYSTEM handle, HCS_OPERATION operation, HCS_OPERATION_TYPE type, PCWSTR text,
                           document_reader read) {
    struct system *system = handle_acquire(handle, HANDLE_SYSTEM);
    if (!system)
        return E_HANDLE;
    if (!system->compute) { /* made by hdvlab_embedded_create, or of another kind */
        handle_release(handle);
        return E_NOTIMPL;
    }
    return call(system, handle, operation, type, text, read);
}

HRESULT HcsStartComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options) {
    return call_system(computeSystem, operation, HcsOperationTypeStart, options, read_options);
}

HRESULT HcsShutDownComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options) {
    return call_system(computeSystem, operation, HcsOperationTypeShutdown, options, read_options);
}

HRESULT HcsTerminateComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options) {
    return call_system(computeSystem, operation, HcsOperationTypeTerminate, options, read_options);
}

HRESULT HcsPauseComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options) {
    return call_system(computeSystem, operation, HcsOperationTypePause, options, read_options);
}

HRESULT HcsResumeComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR options) {
    return call_system(computeSystem, operation, HcsOperationTypeResume, options, read_options);
}

HRESULT HcsModifyComputeSystem(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR configuration,
                               HANDLE identity) {
    (void)identity;
    if (!configuration)
        return E_POINTER;
    return call_system(computeSystem, operation, HcsOperationTypeModify, configuration, read_modify);
}

HRESULT HcsGetComputeSystemProperties(HCS_SYSTEM computeSystem, HCS_OPERATION operation, PCWSTR propertyQuery) {
    return call_system(computeSystem, operation, HcsOperationTypeGetProperties, propertyQuery, read_properties);
}

HRESULT HcsEnumerateComputeSystems(PCWSTR query, HCS_OPERATION operation) {
    return call(NULL, NULL, operation, HcsOperationTypeEnumerate, query, read_systems);
}
