#include "cml.h"

#include <aws/common/clock.h>

static const char *const s_error_names[CML_ERR_COUNT] = {
    "ok", "cancelled", "connect", "dns", "tls", "proxy", "connect_timeout", "stall_timeout", "total_timeout", "reset",
    "truncated", "protocol", "no_length", "wrong_range", "behind_end", "too_large", "changed", "checksum", "status",
    "credentials", "body_read", "file", "resources", "shutdown", "internal",
};

static atomic_llong s_live[CML_LIVE_KINDS];

const char *cml_error_name(int error) {
    return error >= 0 && error < CML_ERR_COUNT ? s_error_names[error] : "unknown";
}

void cml_live_add(enum cml_live kind, int delta) {
    atomic_fetch_add_explicit(&s_live[kind], delta, memory_order_relaxed);
}

int64_t cml_live_get(enum cml_live kind) {
    return atomic_load_explicit(&s_live[kind], memory_order_relaxed);
}

void cml_live_reset_after_fork(void) {
    for (int i = 0; i < CML_LIVE_KINDS; ++i) {
        atomic_store(&s_live[i], 0);
    }
}

uint64_t cml_now_ns(void) {
    uint64_t now = 0;
    aws_high_res_clock_get_ticks(&now);
    return now;
}
