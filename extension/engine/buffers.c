#include "buffers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MAPPED_FROM ((size_t)128 << 10)
#define HUGE_PAGE ((size_t)2 << 20)
#define DEFAULT_LIMIT ((uint64_t)1 << 30)

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cml_buffer *s_idle;     /* under s_lock, newest first */
static uint64_t s_idle_bytes;         /* under s_lock */
static atomic_ullong s_in_use;        /* any thread */
static atomic_ullong s_limit = DEFAULT_LIMIT;

/* Capacities come in steps of a quarter of their power of two, so that released buffers fit later requests. */
static size_t s_rounded(size_t length) {
    if (length < MAPPED_FROM) {
        return length > 0 ? length : 1;
    }
    size_t power = MAPPED_FROM;
    while (power <= length / 2) {
        power *= 2;
    }
    size_t step = power / 4;
    if (length >= HUGE_PAGE && step < HUGE_PAGE) {
        step = HUGE_PAGE;
    }
    return (length + step - 1) / step * step;
}

static uint8_t *s_map(size_t capacity) {
    size_t slack = capacity >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *raw = mmap(NULL, capacity + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) {
        return NULL;
    }
    if (slack == 0) {
        return raw;
    }
    uint8_t *aligned = (uint8_t *)(((uintptr_t)raw + slack - 1) & ~(uintptr_t)(slack - 1));
    if (aligned != raw) {
        munmap(raw, (size_t)(aligned - raw));
    }
    size_t tail = (size_t)(raw + slack - aligned);
    if (tail != 0) {
        munmap(aligned + capacity, tail);
    }
#ifdef MADV_HUGEPAGE
    madvise(aligned, capacity, MADV_HUGEPAGE); /* advice: where it is not taken, small pages do */
#endif
    return aligned;
}

void cml_advise_huge(void *data, size_t length) {
#ifdef MADV_HUGEPAGE
    uintptr_t start = ((uintptr_t)data + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)data + length) & ~(uintptr_t)(HUGE_PAGE - 1);
    if (end > start) {
        madvise((void *)start, end - start, MADV_HUGEPAGE);
    }
#else
    (void)data, (void)length;
#endif
}

static void s_free(struct cml_buffer *buffer) {
    if (buffer->capacity >= MAPPED_FROM) {
        munmap(buffer->data, buffer->capacity);
        free(buffer);
    } else {
        free(buffer); /* data sits behind the header */
    }
}

static struct cml_buffer *s_take_idle(size_t capacity) {
    pthread_mutex_lock(&s_lock);
    struct cml_buffer **link = &s_idle;
    while (*link != NULL && (*link)->capacity != capacity) {
        link = &(*link)->next;
    }
    struct cml_buffer *found = *link;
    if (found != NULL) {
        *link = found->next;
        s_idle_bytes -= found->capacity;
    }
    pthread_mutex_unlock(&s_lock);
    return found;
}

static struct cml_buffer *s_fresh(size_t capacity) {
    if (capacity < MAPPED_FROM) {
        struct cml_buffer *small = malloc(sizeof(*small) + capacity);
        if (small != NULL) {
            small->data = (uint8_t *)(small + 1);
        }
        return small;
    }
    struct cml_buffer *large = malloc(sizeof(*large));
    if (large == NULL) {
        return NULL;
    }
    large->data = s_map(capacity);
    if (large->data == NULL) {
        free(large);
        return NULL;
    }
    return large;
}

struct cml_buffer *cml_buffer_new(size_t length) {
    if (length > (size_t)PTRDIFF_MAX / 2) {
        return NULL;
    }
    size_t capacity = s_rounded(length);
    struct cml_buffer *buffer = capacity >= MAPPED_FROM ? s_take_idle(capacity) : NULL;
    if (buffer == NULL) {
        buffer = s_fresh(capacity);
    }
    if (buffer == NULL && capacity >= MAPPED_FROM) {
        cml_pool_trim(0); /* idle mappings of other sizes may stand in the way */
        buffer = s_fresh(capacity);
    }
    if (buffer == NULL) {
        return NULL;
    }
    atomic_init(&buffer->refs, 1);
    buffer->length = length;
    buffer->capacity = capacity;
    buffer->next = NULL;
    atomic_fetch_add_explicit(&s_in_use, capacity, memory_order_relaxed);
    cml_live_add(CML_LIVE_BUFFERS, 1);
    return buffer;
}

void cml_buffer_acquire(struct cml_buffer *buffer) {
    atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
}

static void (*_Atomic s_idle_hook)(void);

void cml_pool_set_idle_hook(void (*hook)(void)) {
    atomic_store(&s_idle_hook, hook);
}

static bool s_keep_idle(struct cml_buffer *buffer) {
    bool kept = false;
    pthread_mutex_lock(&s_lock);
    if (s_idle_bytes + buffer->capacity <= atomic_load_explicit(&s_limit, memory_order_relaxed)) {
        buffer->idle_since_ns = cml_now_ns();
        buffer->next = s_idle;
        s_idle = buffer;
        s_idle_bytes += buffer->capacity;
        kept = true;
    }
    pthread_mutex_unlock(&s_lock);
    void (*hook)(void) = atomic_load_explicit(&s_idle_hook, memory_order_acquire);
    if (kept && hook != NULL) {
        hook();
    }
    return kept;
}

void cml_buffer_release(struct cml_buffer *buffer) {
    if (buffer == NULL || atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    atomic_fetch_sub_explicit(&s_in_use, buffer->capacity, memory_order_relaxed);
    cml_live_add(CML_LIVE_BUFFERS, -1);
    if (buffer->capacity < MAPPED_FROM || !s_keep_idle(buffer)) {
        s_free(buffer);
    }
}

void cml_pool_trim(uint64_t max_idle_ns) {
    struct cml_buffer *doomed = NULL;
    pthread_mutex_lock(&s_lock);
    uint64_t now = cml_now_ns(); /* under the lock: later than any idle_since_ns */
    for (struct cml_buffer **link = &s_idle; *link != NULL;) {
        struct cml_buffer *buffer = *link;
        if (now - buffer->idle_since_ns < max_idle_ns) {
            link = &buffer->next;
            continue;
        }
        *link = buffer->next;
        s_idle_bytes -= buffer->capacity;
        buffer->next = doomed;
        doomed = buffer;
    }
    pthread_mutex_unlock(&s_lock);
    while (doomed != NULL) {
        struct cml_buffer *next = doomed->next;
        s_free(doomed);
        doomed = next;
    }
}

bool cml_pool_has_idle(void) {
    pthread_mutex_lock(&s_lock);
    bool idle = s_idle != NULL;
    pthread_mutex_unlock(&s_lock);
    return idle;
}

void cml_pool_stats(struct cml_pool_stats *out) {
    pthread_mutex_lock(&s_lock);
    out->idle_bytes = s_idle_bytes;
    pthread_mutex_unlock(&s_lock);
    out->in_use_bytes = atomic_load_explicit(&s_in_use, memory_order_relaxed);
    out->limit_bytes = atomic_load_explicit(&s_limit, memory_order_relaxed);
}

void cml_pool_set_limit(uint64_t limit_bytes) {
    atomic_store(&s_limit, limit_bytes);
}

bool cml_pool_has_room(size_t bytes) {
    uint64_t limit = atomic_load_explicit(&s_limit, memory_order_relaxed);
    return bytes <= limit && atomic_load_explicit(&s_in_use, memory_order_relaxed) <= limit - bytes;
}

bool cml_pool_claim(size_t bytes, bool must) {
    uint64_t limit = atomic_load_explicit(&s_limit, memory_order_relaxed);
    uint64_t before = atomic_fetch_add_explicit(&s_in_use, bytes, memory_order_relaxed);
    if (must || (bytes <= limit && before <= limit - bytes)) {
        return true;
    }
    cml_pool_unclaim(bytes);
    return false;
}

void cml_pool_unclaim(size_t bytes) {
    atomic_fetch_sub_explicit(&s_in_use, bytes, memory_order_relaxed);
}

void cml_pool_reset_after_fork(void) {
    /* The lock may have been held by a thread that does not exist here; the idle list is then of unknown shape. */
    pthread_mutex_init(&s_lock, NULL);
    s_idle = NULL;
    s_idle_bytes = 0;
}
