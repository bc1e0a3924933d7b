/* Events that vectors of the embedded machine signal as they arrive, so that a guest outside of the interpreter can wait
 * for several at once, or a VM's own interrupt lines be driven. */
#include <stdlib.h>

#include "embedded.h"
#include "handle.h"

void interrupt_events_init(struct embedded *machine) {
    for (uint32_t vector = 0; vector < INTERRUPT_VECTORS; vector++)
        machine->event[vector] = NO_HANDLE;
}

void interrupt_events_close(struct embedded *machine) {
    for (uint32_t vector = 0; vector < INTERRUPT_VECTORS; vector++)
        platform_close(machine->event[vector]);
}

HRESULT hdvlab_guest_bind_interrupts(HCS_SYSTEM handle, uint32_t start, uint32_t count, const HANDLE *events) {
    HRESULT hr;
    struct embedded *machine = embedded_acquire(handle, &hr);
    if (!machine)
        return hr;
    HANDLE copy[INTERRUPT_VECTORS];
    uint32_t made = 0;
    if (!count || start >= INTERRUPT_VECTORS || count > INTERRUPT_VECTORS - start)
        hr = E_INVALIDARG;
    for (; hr == S_OK && made < count; made++) { /* all copies first: all are bound, or none */
        HANDLE event = events ? events[made] : NULL;
        copy[made] = NO_HANDLE;
        if (event && event != NO_HANDLE)
            hr = platform_event_copy(event, &copy[made]);
    }
    if (hr == S_OK) {
        /* Whoever signals holds this lock: when the old copies are closed their last signal has been given. */
        pthread_mutex_lock(&machine->interrupt_lock);
        for (uint32_t i = 0; i < count; i++) {
            HANDLE old = machine->event[start + i];
            machine->event[start + i] = copy[i];
            copy[i] = old;
        }
        pthread_mutex_unlock(&machine->interrupt_lock);
    }
    for (uint32_t i = 0; i < made; i++)
        platform_close(copy[i]);
    handle_release(handle);
    return hr;
}
