/* What the header's section "gate" exports. */
#include "hdvlab.h"

HRESULT hdvlab_gate_add(HCS_SYSTEM s, const HDVLAB_BREAKPOINT *b, uint32_t *id) { (void)s, (void)b, (void)id; return E_NOTIMPL; }
HRESULT hdvlab_gate_set(HCS_SYSTEM s, uint32_t id, uint32_t flags) { (void)s, (void)flags, (void)id; return E_NOTIMPL; }
HRESULT hdvlab_gate_remove(HCS_SYSTEM s, uint32_t id) { (void)s, (void)id; return E_NOTIMPL; }
HRESULT hdvlab_gate_hits(HCS_SYSTEM s, uint32_t id, uint64_t *h, uint64_t *t) { (void)s, (void)id, (void)h, (void)t; return E_NOTIMPL; }
HRESULT hdvlab_gate_step(HCS_SYSTEM s, uint64_t n) { (void)s, (void)n; return E_NOTIMPL; }
HRESULT hdvlab_gate_stops(HCS_SYSTEM s, HDVLAB_STOP_STATE *t, uint32_t r, uint32_t *c) { (void)s, (void)t, (void)r, (void)c; return E_NOTIMPL; }
HRESULT hdvlab_gate_release(HCS_SYSTEM s, uint64_t t, uint32_t a, uint64_t v) { (void)s, (void)t, (void)a, (void)v; return E_NOTIMPL; }
HRESULT hdvlab_gate_wait(HCS_SYSTEM s, uint64_t *c, uint32_t ms) { (void)s, (void)c, (void)ms; return E_NOTIMPL; }
HRESULT hdvlab_gate_limit(HCS_SYSTEM s, uint32_t ms) { (void)s, (void)ms; return E_NOTIMPL; }
HRESULT hdvlab_gate_overdue(HCS_SYSTEM s, uint64_t *c) { (void)s, (void)c; return E_NOTIMPL; }
HRESULT hdvlab_gate_on_ask(HCS_SYSTEM s, HDVLAB_GATE_ASK a, void *c) { (void)s, (void)a, (void)c; return E_NOTIMPL; }
HRESULT hdvlab_gate_on_idle(HCS_SYSTEM s, HDVLAB_GATE_IDLE a, void *c) { (void)s, (void)a, (void)c; return E_NOTIMPL; }
HRESULT hdvlab_trace_suspend(HDVLAB_TRACE t, BOOL s) { (void)s, (void)t; return E_NOTIMPL; }
