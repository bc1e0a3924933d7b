/* Config and MMIO accesses of a guest against a model of the machine: which callback comes, with what, what the guest
 * gets, and that each access is one finished row. Devices answer, fail, and access themselves and each other. In half of
 * the runs they belong to another system, which forwards to the machine: nobody but a person past the bus can tell. */
#include "recording.h"
#include "rig.h"

#define RAM (1u << 20)
#define DEVICES 3
#define REGISTERS 12

struct model {
    HDV_DEVICE handle;
    HDVLAB_REGISTER_FILE file; /* NULL = C callbacks */
    uint32_t probed[6], bar[6], command;
    uint64_t size[6];
    int running, inside;
};

/* What the access that is under way may call. */
struct window {
    struct model *device; /* NULL = nobody */
    int is_config, is_write, called, is_file, is_split;
    uint32_t bar, length;
    uint64_t offset, value;
    HRESULT answer;
};

static struct cursor input;
static HCS_SYSTEM system_handle, forward; /* NULL: the devices are the machine's own */
static struct model devices[DEVICES];
static uint32_t device_count;
static struct window window;
static struct window pieces[8]; /* of an access that is split */
static uint32_t piece_count, piece_next;
static int depth;
static uint64_t expected_rows;

static void operate(void);

/* A device does what devices do, and what they must not. */
static HRESULT behave(struct model *m) {
    HRESULT hr = take_result(&input);
    if (depth < 3 && cursor_more(&input) && !(take8(&input) & 7)) {
        struct window outer = window;
        int was_inside = m->inside;
        m->inside = 1;
        operate();
        m->inside = was_inside;
        window = outer;
    }
    return hr;
}

static HRESULT ok(PVOID context) { return (void)context, S_OK; }
static void nothing(PVOID context) { (void)context; }
static HRESULT configured(PVOID context, UINT32 count, const LPCWSTR *values) {
    (void)context;
    REQUIRE(!count && values);
    return S_OK;
}

static HRESULT details(PVOID context, PHDV_PCI_PNP_ID id, UINT32 count, UINT32 *probed) {
    struct model *m = context;
    fill_identity(id);
    memcpy(probed, m->probed, count * sizeof *probed);
    return S_OK;
}

static HRESULT config_read(PVOID context, UINT32 offset, UINT32 *value) {
    REQUIRE(window.device == context && window.is_config && offset % 4 == 0 && offset < 4096);
    *value = take32(&input);
    return take_result(&input);
}

static HRESULT config_write(PVOID context, UINT32 offset, UINT32 value) {
    REQUIRE(window.device == context && window.is_config && window.is_write && offset == (window.offset & ~3ull));
    REQUIRE(!window.called && (window.length < 4 || value == window.value));
    window.called = 1;
    HRESULT hr = behave(context); /* which saves the window over what it does */
    return window.answer = hr;
}

static struct window *mmio(struct model *m, int write, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length) {
    if (window.is_split) {
        while (piece_next < piece_count && (!pieces[piece_next].device || pieces[piece_next].is_file))
            piece_next++;
        REQUIRE(piece_next < piece_count);
        struct window *w = &pieces[piece_next++];
        REQUIRE(w->device == m && w->is_write == write && w->bar == (uint32_t)bar && w->offset == offset && w->length == length);
        w->called = 1;
        return w;
    }
    REQUIRE(window.device == m && !window.is_config && window.is_write == write && !window.called);
    REQUIRE((uint32_t)bar == window.bar && offset == window.offset && length == window.length);
    window.called = 1;
    return &window;
}

static HRESULT mmio_read(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, BYTE *value) {
    struct window *w = mmio(context, 0, bar, offset, length);
    uint64_t answer = take64(&input);
    memcpy(value, &answer, length);
    HRESULT hr = behave(context);
    w->value = answer;
    return w->answer = hr;
}

static HRESULT mmio_write(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT64 length, const BYTE *value) {
    struct window *w = mmio(context, 1, bar, offset, length);
    REQUIRE(!memcmp(value, &w->value, length));
    HRESULT hr = behave(context);
    return w->answer = hr;
}

static const HDV_PCI_DEVICE_INTERFACE interface = {
    HdvPciDeviceInterfaceVersion1, ok, nothing, configured, details, ok, nothing, config_read, config_write, mmio_read,
    mmio_write};

/* ---- register files ----------------------------------------------------------------------------------------------- */

static HRESULT register_read(void *context, uint32_t index, uint64_t stored, uint64_t *value) {
    REQUIRE(index < REGISTERS && (window.is_split || window.device == context));
    *value = stored ^ take8(&input);
    return behave(context);
}
static HRESULT register_write(void *context, uint32_t index, uint64_t value, uint64_t old) {
    (void)value, (void)old;
    REQUIRE(index < REGISTERS && (window.is_split || window.device == context));
    return behave(context);
}
static HRESULT bar_read(void *context, uint32_t bar, uint64_t offset, uint32_t size, uint64_t *value) {
    struct model *m = context;
    REQUIRE((window.is_split || (window.device == m && bar == window.bar)) && is_size(size) && size <= m->size[bar] &&
            offset <= m->size[bar] - size);
    *value = take8(&input);
    return behave(m);
}
static HRESULT bar_write(void *context, uint32_t bar, uint64_t offset, uint32_t size, uint64_t value) {
    return bar_read(context, bar, offset, size, &value);
}
static HRESULT config_written(void *context, uint32_t offset, uint32_t value) {
    (void)value;
    REQUIRE(window.device == context && window.is_config && offset < 4096);
    return behave(context);
}

static HRESULT make_file(struct model *m) {
    static uint8_t config[4096], mask[4096], clear[4096];
    HDVLAB_REGISTER registers[REGISTERS];
    HDVLAB_DEVICE_DESCRIPTION d = {.config = config, .config_write_mask = mask, .config_write_one_to_clear = clear,
                                   .registers = registers, .register_count = take_below(&input, REGISTERS + 1)};
    HDVLAB_DEVICE_CALLBACKS call = {.register_read = register_read, .register_write = register_write,
                                    .bar_read = bar_read, .bar_write = bar_write, .config_written = config_written};
    memset(config, 0, sizeof config);
    memset(mask, take8(&input), sizeof mask);
    memset(clear, take8(&input), sizeof clear);
    fill_identity(&d.pnp_id);
    memcpy(d.probed_bars, m->probed, sizeof d.probed_bars);
    memcpy(d.bar_size, m->size, sizeof d.bar_size);
    uint64_t place = 0;
    for (uint32_t i = 0; i < d.register_count; i++) {
        uint8_t odd = take8(&input);
        uint32_t size = 1u << (odd & 3);
        place = (place + size - 1) & ~(uint64_t)(size - 1);
        registers[i] = (HDVLAB_REGISTER){.offset = odd & 0x80 ? take_number(&input) : place, .bar = take_below(&input, 8) / 4,
                                         .size = size, .sizes = take8(&input), .flags = take8(&input) & 7,
                                         .reset = take8(&input), .read_mask = UINT64_MAX, .write_mask = take64(&input),
                                         .write_one_to_clear = take8(&input), .read_to_clear = take8(&input)};
        place += size;
    }
    uint8_t messages = take8(&input);
    for (int i = 0; i < 6; i++)
        d.bar_flags[i] = messages & 3;
    d.msi_offset = messages & 4 ? 0x40 : 0;
    d.msix_offset = messages & 8 ? 0x70 : messages & 16 ? (uint32_t)take_number(&input) : 0;
    uint32_t at = d.msix_offset <= 4096 - 12 ? d.msix_offset : 0;
    for (uint32_t i = 0; at && i < 12; i++)
        config[at + i] = take8(&input);
    for (uint32_t i = 2; d.msi_offset && i < 24; i++)
        config[d.msi_offset + i] = i < 4 ? take8(&input) : 0;
    return hdvlab_register_file_create(&d, &call, m, &m->file);
}

/* ---- accesses and what must come of them -------------------------------------------------------------------------- */

static struct model *decoded(uint64_t address, uint32_t *bar, uint64_t *offset) {
    for (uint32_t i = 0; i < device_count; i++)
        for (uint32_t b = 0; b < 6 && devices[i].running && devices[i].command & COMMAND_MEMORY; b++) {
            struct model *m = &devices[i];
            uint64_t base = m->bar[b] & ~0xFull, size = m->size[b];
            if ((m->probed[b] & 6) == 4 && size)
                base |= (uint64_t)m->bar[b + 1] << 32;
            if (!size || !base || base + size - 1 < base || address < base || address - base >= size)
                continue;
            *bar = b;
            *offset = address - base;
            return m;
        }
    return NULL;
}

static void expect(struct model *m, int is_config, int write, uint32_t bar, uint64_t offset, uint32_t length,
                   uint64_t value) {
    window = (struct window){.device = m, .is_config = is_config, .is_write = write, .bar = bar, .offset = offset,
                             .length = length, .value = value, .answer = S_OK};
    expected_rows++;
}

/* One access by the bus or past it (bar < 8) that is not split. */
static void check_answer(struct model *m, int write, uint32_t size, HRESULT hr, uint64_t value) {
    if (m && m->inside) { /* its own access: the guard */
        REQUIRE(hr == INVALID_STATE && !window.called);
    } else if (m && !m->file) {
        REQUIRE(window.called && hr == as_answered(window.answer));
        REQUIRE(write || value == (FAILED(hr) ? ones_of(size) : window.value & ones_of(size)));
    }
    REQUIRE(write || FAILED(hr) || value <= ones_of(size));
    REQUIRE(write || SUCCEEDED(hr) || value == ones_of(size));
}

static void access_memory(uint64_t address, uint32_t size, int write, int spelled) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST};
    uint64_t value = write ? take64(&input) : 0x5A5A5A5A5A5A5A5A;
    uint64_t offset = 0;
    uint32_t bar = 0;
    struct model *m = NULL;
    int is_ram = 0;
    if (!is_size(size) || address + size - 1 < address) {
        expect(NULL, 0, write, 0, 0, 0, 0);
    } else {
        address &= ~(uint64_t)(size - 1); /* access_split has the others */
    }
    int refused = !is_size(size) || address + size - 1 < address;
    if (!refused) {
        is_ram = address < RAM && size <= RAM - address;
        m = is_ram ? NULL : decoded(address, &bar, &offset);
        expect(m && m->inside ? NULL : m, 0, write, bar, offset, size, value & ones_of(size));
        expected_rows -= (uint64_t)is_ram;
    }
    HRESULT hr = spelled && write  ? hdvlab_guest_store(system_handle, address, size, 0, 1, value)
                 : spelled         ? hdvlab_guest_load(system_handle, address, size, 0, 1, &value)
                 : write           ? hdvlab_guest_write(system_handle, &access, address, size, value)
                                   : hdvlab_guest_read(system_handle, &access, address, size, &value);
    if (refused)
        REQUIRE(hr == (is_size(size) ? OVERFLOWS : E_INVALIDARG) && (write || value == ones_of(size)));
    else if (is_ram)
        REQUIRE(hr == S_OK);
    else if (!m)
        REQUIRE(hr == NOACCESS && (write || value == ones_of(size)));
    else
        check_answer(m, write, size, hr, value);
}

/* An access that is not aligned: its pieces must come in order, each to whom it decodes, and the first failure counts. */
static void access_split(uint64_t address, uint32_t size, int write) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST};
    if (!is_size(size) || address % size == 0 || address + size - 1 < address)
        return;
    int outer_depth = depth;
    depth = 3; /* the devices do nothing on their own here, so that each piece's place is known before */
    uint64_t value = write ? take64(&input) : 0;
    piece_count = piece_next = 0;
    for (uint32_t done = 0, piece; done < size; done += piece) {
        for (piece = 1; (address + done) % (piece * 2) == 0 && done + piece * 2 <= size;)
            piece *= 2;
        if (address + done < RAM)
            continue;
        struct window *w = &pieces[piece_count++];
        uint32_t bar = 0;
        uint64_t offset = 0;
        struct model *m = decoded(address + done, &bar, &offset);
        expect(m && !m->inside ? m : NULL, 0, write, bar, offset, piece, value >> 8 * done & ones_of(piece));
        *w = window;
        w->answer = m && !m->file && !m->inside ? S_OK : m ? INVALID_STATE : NOACCESS;
        w->is_file = m && m->file && !m->inside;
    }
    window.is_split = 1;
    HRESULT hr = write ? hdvlab_guest_write(system_handle, &access, address, size, value)
                       : hdvlab_guest_read(system_handle, &access, address, size, &value);
    window.is_split = 0;
    HRESULT want = S_OK;
    int knows = 1;
    for (uint32_t i = 0; i < piece_count; i++) {
        struct window *w = &pieces[i];
        REQUIRE(w->called == (w->device && !w->is_file));
        knows &= !w->is_file;
        want = FAILED(want) ? want : as_answered(w->answer);
    }
    REQUIRE(!knows || (FAILED(want) ? hr == want : SUCCEEDED(hr)));
    REQUIRE(write || value <= ones_of(size));
    piece_count = 0;
    depth = outer_depth;
}

static void access_config(uint32_t slot, uint32_t offset, uint32_t size, int write) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_GUEST};
    uint32_t value = write ? take32(&input) : 0x5A5A5A5A;
    int is_access = (size == 1 || size == 2 || size == 4) && offset < 4096 && (offset & 3) + size <= 4;
    struct model *m = slot < device_count && devices[slot].running && is_access ? &devices[slot] : NULL;
    int reaches = m && !m->inside;
    expect(reaches ? m : NULL, 1, write, 0, offset, size, value);
    if (reaches && write) { /* what the machine itself keeps of it, before the device is told */
        uint32_t dword = offset & ~3u, mask = (uint32_t)ones_of(size) << 8 * (offset & 3);
        uint32_t bits = (value & (uint32_t)ones_of(size)) << 8 * (offset & 3);
        if (dword == 4)
            m->command = ((m->command & ~mask) | (bits & mask)) & 0x547;
        if (dword >= 0x10 && dword < 0x28) {
            uint32_t b = (dword - 0x10) / 4;
            int upper = b && (m->probed[b - 1] & 6) == 4 && m->size[b - 1];
            uint32_t type = upper ? 0 : m->probed[b] & 0xF;
            m->bar[b] = (((m->bar[b] | type) & ~mask) | (bits & mask)) & m->probed[b] & ~type;
        }
    }
    HRESULT hr = write ? hdvlab_guest_config_write(system_handle, &access, slot, offset, size, value)
                       : hdvlab_guest_config_read(system_handle, &access, slot, offset, size, &value);
    if (!is_access)
        REQUIRE(hr == E_INVALIDARG);
    else if (!m)
        REQUIRE(hr == NOT_FOUND);
    else if (m->inside)
        REQUIRE(hr == INVALID_STATE);
    else if (write && !m->file)
        REQUIRE(window.called ? hr == as_answered(window.answer) : FAILED(hr));
    REQUIRE(write || value <= (uint32_t)ones_of(size > 4 ? 4 : size));
    REQUIRE(write || SUCCEEDED(hr) || value == (uint32_t)ones_of(size > 4 ? 4 : size));
    if (!write && SUCCEEDED(hr) && size == 4 && offset >= 0x10 && offset < 0x28)
        REQUIRE((value & ~0xFu) == (m->bar[(offset - 0x10) / 4] & ~0xFu));
    if (!write && SUCCEEDED(hr) && size == 2 && offset == 4)
        REQUIRE(value == m->command);
}

static void access_device(struct model *m, uint32_t bar, uint64_t offset, uint32_t size, int write) {
    HDVLAB_ACCESS access = {.origin = HDVLAB_USER};
    uint64_t value = write ? take64(&input) : 0x5A;
    int fits = bar < 6 && is_size(size) && m->size[bar] >= size && offset <= m->size[bar] - size;
    int reaches = fits && m->running && !m->inside;
    expect(reaches ? m : NULL, 0, write, bar, offset, size, value & ones_of(size));
    expected_rows -= forward != NULL; /* it does not come to the machine, whose rows are counted */
    int outer_depth = depth;
    depth = forward ? 3 : depth; /* what the device does there the machine would not take for its own */
    HRESULT hr = hdvlab_device_access(m->handle, &access, write, bar, offset, size, &value);
    depth = outer_depth;
    if (!fits)
        REQUIRE(hr == E_INVALIDARG);
    else if (!m->running)
        REQUIRE(hr == INVALID_STATE);
    else
        check_answer(m, write, size, hr, value);
}

static HRESULT CALLBACK own_peek(PVOID context, HDV_PCI_BAR_SELECTOR bar, UINT64 offset, UINT32 size, UINT64 *value) {
    REQUIRE(window.device == context && (uint32_t)bar == window.bar && offset == window.offset && size == window.length);
    window.called = 1;
    *value = window.value = take64(&input);
    return window.answer = take_result(&input);
}

/* A look that the device answers itself: no row. */
static void look(struct model *m, uint32_t bar, uint64_t offset, uint32_t size) {
    uint64_t value = 0x5A;
    int fits = bar < 6 && is_size(size) && m->size[bar] >= size && offset <= m->size[bar] - size;
    window = (struct window){.device = m->file ? NULL : m, .bar = bar, .offset = offset, .length = size};
    if (m->file)
        return; /* its context is not ours */
    HRESULT hr = hdvlab_device_peek(m->handle, own_peek, bar, offset, size, &value);
    REQUIRE(hr == (m->inside || !m->running ? INVALID_STATE : !fits ? E_INVALIDARG : window.answer));
    REQUIRE(window.called == (fits && m->running && !m->inside));
    REQUIRE(m->inside || FAILED(hr) || value == (window.value & ones_of(size)));
    REQUIRE(SUCCEEDED(hr) || m->inside || !is_size(size) || value == ones_of(size));
}

static void peek(uint32_t slot) {
    uint8_t config[4096];
    struct model *m = slot < device_count && devices[slot].running ? &devices[slot] : NULL;
    window = (struct window){.device = m && !m->inside ? m : NULL, .is_config = 1};
    HRESULT hr = hdvlab_guest_config_peek(system_handle, slot, config);
    REQUIRE(m ? !m->inside || hr == INVALID_STATE : hr == NOT_FOUND);
}

static uint64_t take_address(struct model *m) {
    uint8_t how = take8(&input);
    uint32_t b = how % 6;
    uint64_t base = m->bar[b] & ~0xFull;
    if (b < 5 && (m->probed[b] & 6) == 4)
        base |= (uint64_t)m->bar[b + 1] << 32;
    if (how < 0xA0)
        return base + take8(&input) * (how & 0x20 ? 1u : 8u);
    return how < 0xC0 ? base + m->size[b] - take8(&input) : how < 0xD0 ? RAM - take8(&input) : take_number(&input);
}

static void operate(void) {
    depth++;
    struct model *m = &devices[take_below(&input, device_count)];
    uint8_t what = take8(&input), size = take8(&input);
    uint32_t bytes = size < 0xE0 ? 1u << (size & 3) : (uint32_t)take_number(&input);
    uint32_t slot = (uint32_t)(m - devices);
    switch (what % 13) {
    case 12: look(m, take_below(&input, 8), take8(&input) < 0xE0 ? take8(&input) : take_number(&input), bytes); break;
    case 0:
    case 1: access_memory(take_address(m), bytes, 0, !!(what & 16)); break;
    case 2:
    case 3: access_memory(take_address(m), bytes, 1, !!(what & 16)); break;
    case 4:
    case 5: access_split(take_address(m), bytes, !!(what & 16)); break;
    case 6: access_config(slot, take8(&input) & 0x3F, bytes, !!(what & 16)); break;
    case 7: access_config(what & 32 ? take_below(&input, 40) : slot, (uint32_t)take_number(&input), bytes, !!(what & 16)); break;
    case 8: access_device(m, take_below(&input, 8), take_number(&input), bytes, !!(what & 16)); break;
    case 9: peek(what & 16 ? take_below(&input, 40) : slot); break;
    case 10: /* as firmware does */
        for (uint32_t b = 0; b < 6; b++)
            access_config(slot, 0x10 + 4 * b, 4, 1);
        access_config(slot, 4, 2, 1);
        break;
    default:
        if (m->file)
            (void)hdvlab_register_file_interrupt(m->file, (uint32_t)take_number(&input));
        else
            (void)HdvDeliverGuestInterrupt(m->handle, 0xFEE00000u + take8(&input), take8(&input));
    }
    depth--;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input = (struct cursor){data, data + size};
    HDVLAB_TRACE trace = recording_begin();
    uint64_t handles = hdvlab_live_handles(), rows = recording_rows();
    HDV_HOST host;
    REQUIRE(hdvlab_embedded_create(RAM, 0, trace, &system_handle) == S_OK);
    static const HDVLAB_HDV_FUNCTIONS native = {
        sizeof native, HdvInitializeDeviceHost, HdvTeardownDeviceHost, HdvCreateDeviceInstance, HdvReadGuestMemory,
        HdvWriteGuestMemory, HdvCreateGuestMemoryAperture, HdvDestroyGuestMemoryAperture, HdvDeliverGuestInterrupt,
        HdvInitializeDeviceHostEx, HdvRegisterDoorbell, HdvUnregisterDoorbell, HdvRegisterDoorbellPage,
        HdvUnregisterDoorbellPage, HdvCreateSectionBackedMmioRange, HdvDestroySectionBackedMmioRange};
    uint8_t first = take8(&input);
    forward = NULL;
    REQUIRE(first < 0x80 || hdvlab_forward_create(&native, system_handle, NULL, &forward) == S_OK);
    REQUIRE(HdvInitializeDeviceHost(forward ? forward : system_handle, &host) == S_OK);
    memset(devices, 0, sizeof devices);
    window = (struct window){.device = NULL};
    expected_rows = 0;
    depth = 0;
    int all_sound = 1;
    device_count = 1 + first % DEVICES;
    for (uint32_t i = 0; i < device_count; i++) {
        struct model *m = &devices[i];
        GUID instance = guid_of(i);
        uint8_t how = take8(&input);
        int is_file = how & 1;
        take_bars(&input, m->probed);
        all_sound &= bar_sizes(m->probed, m->size);
        if (is_file && make_file(m) == S_OK)
            REQUIRE(hdvlab_register_file_instance(m->file, host, &class_guid, &instance, &m->handle) == S_OK);
        else
            REQUIRE(HdvCreateDeviceInstance(host, HdvDeviceTypePCI, &class_guid, &instance, &interface, m, &m->handle) == S_OK);
        REQUIRE(hdvlab_device_set_index(m->handle, (uint16_t)i) == S_OK);
        REQUIRE(hdvlab_device_set_concurrent(m->handle, how >> 1 & 1) == S_OK); /* on one thread nobody can tell */
        REQUIRE(hdvlab_system_add_slot(system_handle, i, &class_guid, &instance, 0, NULL) == S_OK);
    }
    HRESULT started = hdvlab_system_start(system_handle);
    REQUIRE(started == (all_sound ? S_OK : E_INVALIDARG));
    for (uint32_t i = 0; i < device_count; i++)
        devices[i].running = SUCCEEDED(started);
    for (uint32_t i = 0; i < device_count; i++) {
        HRESULT late = hdvlab_device_set_concurrent(devices[i].handle, TRUE);
        REQUIRE(late == INVALID_STATE || (late == E_HANDLE && FAILED(started)) || (late == S_OK && FAILED(started)));
    }
    while (cursor_more(&input) && SUCCEEDED(started))
        operate();
    REQUIRE(recording_count(rows, ACCESS_KINDS) == expected_rows);
    window = (struct window){.device = NULL};
    if (!forward)
        REQUIRE(hdvlab_system_close(system_handle) == S_OK);
    REQUIRE(HdvTeardownDeviceHost(host) == S_OK);
    if (forward)
        REQUIRE(hdvlab_system_close(forward) == S_OK && hdvlab_system_close(system_handle) == S_OK);
    for (uint32_t i = 0; i < device_count; i++)
        if (devices[i].file)
            REQUIRE(hdvlab_register_file_close(devices[i].file) == S_OK);
    REQUIRE(hdvlab_live_handles() == handles);
    return 0;
}
