/* A device's life, each step a row: Initialize, SetConfiguration, GetDetails, Start, Stop, Teardown. */
#include <string.h>

#include "handle.h"
#include "tap.h"

static const HDVLAB_ACCESS by_the_machine = {.origin = HDVLAB_GUEST};

static struct tapped step_open(struct device *device, uint32_t kind, uint64_t value) {
    return tap_open(device, &by_the_machine, kind, -1, 0, 0, value);
}

static struct verdict look(struct device *device, const struct tapped *tapped, uint32_t origin, uint32_t kind,
                           uint32_t phase, uint64_t value, HRESULT status) {
    if (!gate_is_armed(device->system))
        return (struct verdict){.action = HDVLAB_CONTINUE};
    struct gated g = gated_of(device, origin, kind, -1, 0, 0);
    g.hit.row = tapped->row;
    return gate_look(&g, phase, value, status);
}

/* A step can be waited for at the gate, and tried again where it failed. */
static void look_before(struct device *device, const struct tapped *tapped, uint32_t kind, uint64_t value) {
    look(device, tapped, HDVLAB_GUEST, kind, HDVLAB_BEFORE, value, S_OK);
}

static int is_retried(struct device *device, const struct tapped *tapped, uint32_t kind, uint64_t value, HRESULT status) {
    return look(device, tapped, HDVLAB_GUEST, kind, HDVLAB_AFTER, value, status).action == HDVLAB_RETRY;
}

static void learn_bars(struct device *device) {
    for (int i = 0; i < HDV_PCI_BAR_COUNT; i++) {
        uint32_t low = device->probed_bars[i];
        int wide = (low & 0x6) == 0x4 && i + 1 < HDV_PCI_BAR_COUNT;
        uint64_t mask = wide ? (uint64_t)device->probed_bars[i + 1] << 32 | (low & ~0xFu)
                             : 0xFFFFFFFF00000000u | (low & ~0xFu);
        device->bar_size[i] = low ? ~mask + 1 : 0;
        if (wide && low)
            device->bar_size[++i] = 0; /* the upper half is addressed through the lower one */
    }
}

/* A mask is usable when it is a run of ones above zeros, for memory, 16 bytes or more; a 64-bit BAR has a next one. */
static int bars_are_sound(const struct device *device) {
    for (int i = 0; i < HDV_PCI_BAR_COUNT; i++) {
        uint64_t size = device->bar_size[i];
        if (size && (size & (size - 1) || size < 16 || device->probed_bars[i] & 1))
            return 0;
    }
    return !device->bar_size[5] || (device->probed_bars[5] & 0x6) != 0x4;
}

/* The steps of a power-on, each a row, with the device entered. */
static HRESULT initialize(struct device *device) {
    struct tapped tapped = step_open(device, HDVLAB_INITIALIZE, 0);
    HRESULT hr;
    look_before(device, &tapped, HDVLAB_INITIALIZE, 0);
    do
        hr = device->interface.Initialize(device->context);
    while (is_retried(device, &tapped, HDVLAB_INITIALIZE, 0, hr));
    return tap_close(&tapped, 0, hr);
}

static HRESULT set_configuration(struct device *device, uint32_t count, const LPCWSTR *configuration) {
    static const LPCWSTR nothing[1] = {NULL};
    struct tapped tapped = step_open(device, HDVLAB_SET_CONFIGURATION, count);
    HRESULT hr;
    look_before(device, &tapped, HDVLAB_SET_CONFIGURATION, count);
    do
        hr = device->interface.SetConfiguration(device->context, count, count ? configuration : nothing);
    while (is_retried(device, &tapped, HDVLAB_SET_CONFIGURATION, count, hr));
    return tap_close(&tapped, count, hr);
}

static HRESULT ask_details(struct device *device) {
    HDV_PCI_PNP_ID id = {0};
    uint32_t probed_bars[HDV_PCI_BAR_COUNT] = {0};
    HRESULT hr = device->interface.GetDetails(device->context, &id, HDV_PCI_BAR_COUNT, probed_bars);
    device->pnp_id = id;
    /* Asked again, a device says the same; then nothing is written under accesses that look at it. */
    if (memcmp(device->probed_bars, probed_bars, sizeof probed_bars)) {
        memcpy(device->probed_bars, probed_bars, sizeof probed_bars);
        learn_bars(device);
    }
    if (SUCCEEDED(hr) && !bars_are_sound(device))
        hr = E_INVALIDARG;
    return hr;
}

static HRESULT get_details(struct device *device) {
    struct tapped tapped = step_open(device, HDVLAB_GET_DETAILS, 0);
    HRESULT hr;
    uint64_t ids;
    look_before(device, &tapped, HDVLAB_GET_DETAILS, 0);
    do {
        hr = ask_details(device);
        ids = (uint64_t)device->pnp_id.DeviceID << 16 | device->pnp_id.VendorID;
    } while (is_retried(device, &tapped, HDVLAB_GET_DETAILS, ids, hr));
    return tap_close(&tapped, ids, hr);
}

static void call_stop(struct device *device) {
    struct tapped tapped = step_open(device, HDVLAB_STOP, 0);
    look_before(device, &tapped, HDVLAB_STOP, 0);
    device->interface.Stop(device->context);
    (void)is_retried(device, &tapped, HDVLAB_STOP, 0, S_OK);
    tap_close(&tapped, 0, S_OK);
}

static HRESULT start(struct device *device) {
    int before = atomic_load(&device->state);
    if (before == DEVICE_TORN_DOWN || !atomic_compare_exchange_strong(&device->state, &before, DEVICE_STARTING))
        return wrong_moment(device); /* it was given up during the Stop of its reset */
    struct tapped tapped = step_open(device, HDVLAB_START, 0);
    HRESULT hr;
    look_before(device, &tapped, HDVLAB_START, 0);
    do
        hr = device->interface.Start(device->context);
    while (is_retried(device, &tapped, HDVLAB_START, 0, hr));
    hr = tap_close(&tapped, 0, hr);
    before = DEVICE_STARTING;
    if (!atomic_compare_exchange_strong(&device->state, &before, SUCCEEDED(hr) ? DEVICE_RUNNING : DEVICE_STOPPED) &&
        SUCCEEDED(hr))
        call_stop(device); /* it was given up meanwhile, and has started all the same */
    return hr;
}

static void stop(struct device *device) {
    atomic_store(&device->line, 0);
    atomic_store(&device->state, DEVICE_STOPPED);
    if (!is_elsewhere(device))
        atomic_store(&device->command, 0);
    call_stop(device);
}

HRESULT device_power_on(struct device *device, uint32_t count, const LPCWSTR *configuration) {
    HRESULT hr = device_enter(device, 0);
    if (FAILED(hr))
        return hr;
    if (atomic_load(&device->state) != DEVICE_CREATED) {
        hr = wrong_moment(device);
        device_leave(device);
        return hr;
    }
    hr = initialize(device);
    if (SUCCEEDED(hr))
        hr = set_configuration(device, count, configuration);
    if (SUCCEEDED(hr))
        hr = get_details(device);
    atomic_store(&device->state, SUCCEEDED(hr) ? DEVICE_INITIALIZED : DEVICE_STOPPED);
    device_leave(device);
    if (FAILED(hr))
        device_tear_down(device);
    return hr;
}

/* What nobody has touched is as its start left it: VMs reset before their guest runs, and some twice. */
int device_reset(struct device *device, const HDVLAB_ACCESS *access) {
    HRESULT hr = device_enter(device, access->wait_ms);
    if (FAILED(hr)) {
        tap_served(device, access, HDVLAB_RESET, HDV_PCI_BAR_COUNT, 0, 0, 0,
                   hr == HRESULT_FROM_WIN32(ERROR_BUSY) ? HRESULT_FROM_WIN32(ERROR_TIMEOUT) : hr);
        return 0;
    }
    int touched = atomic_exchange(&device->touched, 0);
    HRESULT (*own)(void *) = atomic_load(&device->on_reset);
    struct tapped tapped = tap_open(device, access, HDVLAB_RESET, -1, 0, 0, (uint64_t)touched);
    struct verdict verdict = look(device, &tapped, access->origin, HDVLAB_RESET, HDVLAB_BEFORE, (uint64_t)touched, S_OK);
    if (verdict.action == HDVLAB_SKIP) {
        if (touched)
            atomic_store(&device->touched, 1);
        hr = 1;
    }
    while (verdict.action != HDVLAB_SKIP) {
        if (atomic_load(&device->state) != DEVICE_RUNNING) {
            hr = wrong_moment(device);
        } else if (touched && own) {
            hr = own(device->context);
        } else if (touched) {
            stop(device);
            hr = start(device);
        }
        atomic_store(&device->command, 0);
        if (look(device, &tapped, access->origin, HDVLAB_RESET, HDVLAB_AFTER, (uint64_t)touched, hr).action != HDVLAB_RETRY)
            break;
    }
    tap_close(&tapped, (uint64_t)touched, hr);
    device_leave(device);
    return verdict.action == HDVLAB_SKIP;
}

HRESULT hdvlab_device_on_reset(HDV_DEVICE handle, HDVLAB_DEVICE_RESET reset) {
    struct device *device = handle_acquire(handle, HANDLE_DEVICE);
    if (!device)
        return handle_refusal(handle);
    atomic_store(&device->on_reset, reset);
    handle_release(handle);
    return S_OK;
}

HRESULT device_start(struct device *device) {
    HRESULT hr = device_enter(device, 0);
    if (FAILED(hr))
        return hr;
    hr = atomic_load(&device->state) == DEVICE_INITIALIZED ? start(device) : wrong_moment(device);
    device_leave(device);
    return hr;
}

HRESULT device_step(struct device *device, uint32_t kind, uint32_t count, const LPCWSTR *configuration) {
    HRESULT hr = device_enter(device, 0);
    int entered = SUCCEEDED(hr), state = atomic_load(&device->state);
    if (entered && (state == DEVICE_TORN_DOWN || (kind == HDVLAB_STOP && state != DEVICE_RUNNING)))
        hr = HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    if (FAILED(hr)) { /* the device is not asked, and the row says so */
        struct tapped tapped = step_open(device, kind, 0);
        tap_close(&tapped, 0, hr);
    } else if (kind == HDVLAB_INITIALIZE) {
        hr = initialize(device);
    } else if (kind == HDVLAB_SET_CONFIGURATION) {
        hr = set_configuration(device, count, configuration);
    } else if (kind == HDVLAB_GET_DETAILS) {
        hr = get_details(device);
        if (SUCCEEDED(hr) && state == DEVICE_CREATED)
            atomic_store(&device->state, DEVICE_INITIALIZED);
    } else if (kind == HDVLAB_START) {
        hr = start(device);
    } else {
        stop(device);
    }
    if (entered)
        device_leave(device);
    return hr;
}

void device_stop(struct device *device) {
    if (FAILED(device_enter(device, 0)))
        return;
    if (atomic_load(&device->state) == DEVICE_RUNNING)
        stop(device);
    device_leave(device);
}

static void call_teardown(struct device *device) {
    struct tapped tapped = step_open(device, HDVLAB_TEARDOWN, 0);
    look_before(device, &tapped, HDVLAB_TEARDOWN, 0); /* held it is not any more, but counted */
    device->interface.Teardown(device->context);
    (void)is_retried(device, &tapped, HDVLAB_TEARDOWN, 0, S_OK);
    tap_close(&tapped, 0, S_OK);
}

enum { OWES_NOTHING, OWES_TEARDOWN, OWES_STOP_TOO };

/* What a device that was given up has not been told, now that it can be. */
static void pay(struct device *device) {
    int owed = atomic_exchange(&device->owes_teardown, OWES_NOTHING);
    if (!owed || FAILED(device_enter(device, 0)))
        return;
    if (owed == OWES_STOP_TOO)
        call_stop(device);
    call_teardown(device);
    device_leave(device);
}

/* A callback of it has not returned, and may never: it is not asked any more, and loses what reaches the guest. */
static void abandon(struct device *device) {
    int before = atomic_exchange(&device->state, DEVICE_TORN_DOWN);
    if (before == DEVICE_TORN_DOWN)
        return;
    struct tapped tapped = step_open(device, HDVLAB_TEARDOWN, 0);
    tap_close(&tapped, 0, HRESULT_FROM_WIN32(ERROR_TIMEOUT));
    doorbells_drop(device);
    sections_drop(device);
    apertures_drop(device);
    atomic_store(&device->owes_teardown, before == DEVICE_RUNNING ? OWES_STOP_TOO : OWES_TEARDOWN);
    if (!atomic_load(&device->hung)) /* it has come back meanwhile, and found nothing to be owed */
        pay(device);
}

void device_came_back(struct device *device) {
    atomic_store(&device->hung, 0);
    pay(device);
}

void device_is_leaving(struct device *device) {
    atomic_store(&device->is_leaving, 1);
    gate_wake(device->system);
}

void device_tear_down(struct device *device) {
    HRESULT hr;
    device_is_leaving(device);
    do {
        device_stop(device);
        hr = device_enter(device, 0);
    } while (hr == HRESULT_FROM_WIN32(ERROR_BUSY) && !atomic_load(&device->hung)); /* it has come back meanwhile */
    if (FAILED(hr)) {
        if (atomic_load(&device->hung))
            abandon(device);
        return;
    }
    if (atomic_exchange(&device->state, DEVICE_TORN_DOWN) != DEVICE_TORN_DOWN) {
        call_teardown(device);
        doorbells_drop(device);
        sections_drop(device);
        apertures_drop(device);
    }
    device_leave(device);
}
