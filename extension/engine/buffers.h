/* The buffer pool: where response bodies land.
 *
 * Owns every large buffer of the process. Small buffers (under 128 KiB) are plain malloc; larger ones are mappings,
 * advised to huge pages from 2 MiB on, kept for reuse when released and given back to the system when idle: page
 * faults on fresh memory cost more than everything else a large GET does.
 *
 * Any thread may acquire and release. Accounting is by capacity and counts what is held by anybody, Python included.
 * Pool memory is never marked DONTFORK or WIPEONFORK: a forked child may read what its parent received.
 */
#ifndef CML_BUFFERS_H
#define CML_BUFFERS_H

#include "cml.h"

struct cml_buffer {
    atomic_int refs;
    uint8_t *data;
    size_t length;   /* bytes that hold content; set by the owner before the buffer is shared */
    size_t capacity; /* bytes accounted for */
    uint64_t idle_since_ns;
    struct cml_buffer *next; /* in the pool's list of idle buffers, under the pool's lock */
};

struct cml_buffer *cml_buffer_new(size_t length); /* NULL when memory is short */
void cml_buffer_acquire(struct cml_buffer *buffer);
void cml_buffer_release(struct cml_buffer *buffer);

struct cml_pool_stats {
    uint64_t in_use_bytes;
    uint64_t idle_bytes;
    uint64_t limit_bytes;
};

void cml_pool_stats(struct cml_pool_stats *out);
void cml_pool_set_limit(uint64_t limit_bytes);
bool cml_pool_has_room(size_t bytes); /* whether read-ahead of that size stays within the limit */
/* Memory outside the pool that counts against the limit: false, and nothing claimed, where it would not fit (unless
 * it must). */
bool cml_pool_claim(size_t bytes, bool must);
void cml_pool_unclaim(size_t bytes);
/* Advice for fresh memory from elsewhere that is about to be filled. */
void cml_advise_huge(void *data, size_t length);
void cml_pool_trim(uint64_t max_idle_ns);
bool cml_pool_has_idle(void);
/* Called, on whichever thread releases a buffer, when one was kept for reuse: trimming is due some time later. */
void cml_pool_set_idle_hook(void (*hook)(void));
void cml_pool_reset_after_fork(void);

#endif
