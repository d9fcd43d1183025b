/* The memory of aws-c-s3's parts: buffers of our pool, so that they count and are reused like all others.
 *
 * Owns, for each client of aws-c-s3, the reservations that wait and what each transfer holds. A transfer always gets
 * one part's memory; more of them only while the process is within its budget and the transfer within its share. So no
 * two transfers can wait for each other. A download that brings its own memory gets views of that.
 *
 * Any of aws-c-s3's threads; everything is under the pool's lock. Futures are resolved outside of it: their callbacks
 * may reserve again.
 */
#include "bulk.h"

#include <stdlib.h>

#define MOST_PARTS 24 /* of one transfer: those on the wire, and some being read */

struct s_transfer { /* a meta request with reservations; it is only a key */
    struct cml_link link;
    const struct aws_s3_meta_request *meta;
    struct aws_byte_buf *given; /* memory the caller brought, or NULL */
    uint32_t held;              /* tickets that are out */
    uint32_t waiting;
};

struct s_pool {
    struct aws_s3_buffer_pool base;
    struct aws_allocator *alloc;
    pthread_mutex_t lock;
    struct cml_link transfers;
    struct cml_link waiting; /* s_wait, oldest first */
};

struct s_wait {
    struct cml_link link;
    struct s_transfer *transfer;
    size_t size;
    struct aws_future_s3_buffer_ticket *future;
};

struct s_ticket {
    struct aws_s3_buffer_ticket base;
    struct s_pool *pool;         /* referenced */
    struct s_transfer *transfer; /* NULL for a view */
    struct cml_buffer *buffer;   /* NULL for a view */
    uint8_t *data;
    size_t size;
};

static void *s_zeroed(size_t size) {
    void *memory = calloc(1, size);
    if (memory == NULL) {
        abort(); /* as the CRT does */
    }
    return memory;
}

/* ---- transfers, under lock ---- */

static struct s_transfer *s_find(struct s_pool *pool, const struct aws_s3_meta_request *meta) {
    for (struct cml_link *link = pool->transfers.next; link != &pool->transfers; link = link->next) {
        struct s_transfer *transfer = CML_CONTAINER_OF(link, struct s_transfer, link);
        if (transfer->meta == meta) {
            return transfer;
        }
    }
    return NULL;
}

static struct s_transfer *s_find_or_add(struct s_pool *pool, const struct aws_s3_meta_request *meta) {
    struct s_transfer *transfer = s_find(pool, meta);
    if (transfer == NULL) {
        transfer = s_zeroed(sizeof(*transfer));
        transfer->meta = meta;
        cml_link_push_back(&pool->transfers, &transfer->link);
    }
    return transfer;
}

static void s_forget_if_idle(struct s_transfer *transfer) {
    if (transfer->held == 0 && transfer->waiting == 0 && transfer->given == NULL) {
        cml_link_remove(&transfer->link);
        free(transfer);
    }
}

static bool s_may_have(const struct s_transfer *transfer, size_t size) {
    return transfer->held == 0 || (transfer->held < MOST_PARTS && cml_pool_has_room(size));
}

static void s_give_up_place(struct s_pool *pool, struct s_transfer *transfer) {
    pthread_mutex_lock(&pool->lock);
    transfer->held--;
    s_forget_if_idle(transfer);
    pthread_mutex_unlock(&pool->lock);
}

/* ---- tickets ---- */

static struct aws_byte_buf s_claim(struct aws_s3_buffer_ticket *base) {
    struct s_ticket *ticket = base->impl;
    return aws_byte_buf_from_empty_array(ticket->data, ticket->size);
}

static struct aws_s3_buffer_ticket_vtable s_ticket_vtable = {.claim = s_claim};

static void s_serve_waiting(struct s_pool *pool);

static void s_ticket_destroy(void *object) {
    struct s_ticket *ticket = object;
    struct s_pool *pool = ticket->pool;
    cml_buffer_release(ticket->buffer);
    if (ticket->transfer != NULL) {
        s_give_up_place(pool, ticket->transfer);
        s_serve_waiting(pool);
    }
    free(ticket);
    aws_s3_buffer_pool_release(&pool->base); /* twin: s_ticket_new */
}

static struct s_ticket *s_ticket_new(struct s_pool *pool, uint8_t *data, size_t size) {
    struct s_ticket *ticket = s_zeroed(sizeof(*ticket));
    ticket->base.vtable = &s_ticket_vtable;
    ticket->base.impl = ticket;
    aws_ref_count_init(&ticket->base.ref_count, ticket, s_ticket_destroy);
    ticket->pool = pool;
    ticket->data = data;
    ticket->size = size;
    aws_s3_buffer_pool_acquire(&pool->base);
    return ticket;
}

static void s_resolve(struct aws_future_s3_buffer_ticket *future, struct s_ticket *ticket) {
    struct aws_s3_buffer_ticket *base = &ticket->base;
    aws_future_s3_buffer_ticket_set_result_by_move(future, &base); /* gives it back at once if it was cancelled */
}

/* ---- reserving ---- */

/* Under lock: the oldest reservation that may be had now, counted as held already. */
static struct s_wait *s_next_to_serve(struct s_pool *pool) {
    for (struct cml_link *link = pool->waiting.next; link != &pool->waiting; link = link->next) {
        struct s_wait *wait = CML_CONTAINER_OF(link, struct s_wait, link);
        if (aws_future_s3_buffer_ticket_is_done(wait->future) || s_may_have(wait->transfer, wait->size)) {
            cml_link_remove(&wait->link);
            wait->transfer->waiting--;
            wait->transfer->held++;
            return wait;
        }
    }
    return NULL;
}

static void s_serve(struct s_pool *pool, struct s_wait *wait) {
    bool cancelled = aws_future_s3_buffer_ticket_is_done(wait->future);
    struct cml_buffer *buffer = cancelled ? NULL : cml_buffer_new(wait->size);
    if (buffer == NULL) {
        s_give_up_place(pool, wait->transfer);
        aws_future_s3_buffer_ticket_set_error(wait->future, AWS_ERROR_S3_BUFFER_ALLOCATION_FAILED);
    } else {
        struct s_ticket *ticket = s_ticket_new(pool, buffer->data, wait->size);
        ticket->transfer = wait->transfer;
        ticket->buffer = buffer;
        s_resolve(wait->future, ticket);
    }
    aws_future_s3_buffer_ticket_release(wait->future);
    free(wait);
}

static void s_serve_waiting(struct s_pool *pool) {
    while (true) {
        pthread_mutex_lock(&pool->lock);
        struct s_wait *wait = s_next_to_serve(pool);
        pthread_mutex_unlock(&pool->lock);
        if (wait == NULL) {
            return;
        }
        s_serve(pool, wait);
    }
}

static void s_view(struct s_pool *pool, const struct aws_byte_buf *given, uint64_t offset, size_t size,
                   struct aws_future_s3_buffer_ticket *future) {
    if (offset > given->capacity || size > given->capacity - offset) {
        aws_future_s3_buffer_ticket_set_error(future, AWS_ERROR_SHORT_BUFFER);
    } else {
        s_resolve(future, s_ticket_new(pool, given->buffer + offset, size));
    }
}

static struct aws_future_s3_buffer_ticket *s_reserve(struct aws_s3_buffer_pool *base,
                                                     struct aws_s3_buffer_pool_reserve_meta meta) {
    struct s_pool *pool = base->impl;
    struct aws_future_s3_buffer_ticket *future = aws_future_s3_buffer_ticket_new(pool->alloc);
    pthread_mutex_lock(&pool->lock);
    struct s_transfer *transfer = s_find_or_add(pool, meta.meta_request);
    struct aws_byte_buf *given = transfer->given;
    if (given == NULL) {
        struct s_wait *wait = s_zeroed(sizeof(*wait));
        wait->transfer = transfer;
        wait->size = meta.size;
        wait->future = aws_future_s3_buffer_ticket_acquire(future);
        transfer->waiting++;
        cml_link_push_back(&pool->waiting, &wait->link);
    }
    pthread_mutex_unlock(&pool->lock);
    if (given != NULL) {
        s_view(pool, given, meta.local_offset, meta.size, future);
    } else {
        s_serve_waiting(pool);
    }
    return future;
}

static int s_add_given(struct aws_s3_buffer_pool *base, struct aws_s3_meta_request *meta, struct aws_byte_buf *buffer) {
    struct s_pool *pool = base->impl;
    pthread_mutex_lock(&pool->lock);
    s_find_or_add(pool, meta)->given = buffer;
    pthread_mutex_unlock(&pool->lock);
    return AWS_OP_SUCCESS;
}

static void s_remove_given(struct aws_s3_buffer_pool *base, struct aws_s3_meta_request *meta) {
    struct s_pool *pool = base->impl;
    pthread_mutex_lock(&pool->lock);
    struct s_transfer *transfer = s_find(pool, meta);
    if (transfer != NULL) {
        transfer->given = NULL;
        s_forget_if_idle(transfer);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* ---- the pool ---- */

static void s_trim(struct aws_s3_buffer_pool *base) {
    (void)base; /* idle buffers are looked after by the runtime's sweep */
}

static uint64_t s_aligned_size(struct aws_s3_buffer_pool *base, uint64_t size) {
    (void)base;
    return size;
}

static struct aws_s3_buffer_pool_vtable s_pool_vtable = {
    .reserve = s_reserve,
    .trim = s_trim,
    .derive_aligned_buffer_size = s_aligned_size,
    .add_preallocated_buffer = s_add_given,
    .remove_preallocated_buffer = s_remove_given,
};

static void s_pool_destroy(void *object) {
    struct s_pool *pool = object;
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

struct aws_s3_buffer_pool *cml_bulk_pool_new(struct aws_allocator *alloc, struct aws_s3_buffer_pool_config config,
                                             void *user_data) {
    (void)config, (void)user_data;
    struct s_pool *pool = s_zeroed(sizeof(*pool));
    pool->base.vtable = &s_pool_vtable;
    pool->base.impl = pool;
    aws_ref_count_init(&pool->base.ref_count, pool, s_pool_destroy);
    pool->alloc = alloc;
    pthread_mutex_init(&pool->lock, NULL);
    cml_link_init(&pool->transfers);
    cml_link_init(&pool->waiting);
    return &pool->base;
}
