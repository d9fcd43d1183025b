/* Where body bytes go: from the CRT's message straight to their final place, once.
 *
 * A consumer posts pieces of room; the loop fills them in order. Bytes of a stream that has no room yet wait in a
 * spill of at most the initial window (more only after retries). All of it is under the request's lock, so that a
 * revoke from another thread is complete when it returns.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static bool s_goes_to_file(const struct cml_request *request) {
    return request->file != NULL && request->prefetched == NULL; /* what is prefetched is written as a whole */
}

/* Under lock. Copies into posted pieces; returns how much found room. */
static size_t s_fill_room(struct cml_request *request, const uint8_t *data, size_t length) {
    if (s_goes_to_file(request)) {
        return cml_file_take(request, data, length);
    }
    size_t done = 0;
    while (done < length && request->piece_count > 0) {
        struct cml_piece *piece = &request->pieces[request->piece_head];
        size_t room = piece->capacity - piece->filled;
        size_t take = length - done < room ? length - done : room;
        bool in_place = piece->data + piece->filled == data + done;
        if (piece->data != NULL && !in_place) { /* else a gap between ranges that share a response */
            memcpy(piece->data + piece->filled, data + done, take);
        }
        piece->filled += take;
        done += take;
        if (piece->filled == piece->capacity) {
            request->piece_head = (request->piece_head + 1) % request->piece_slots;
            request->piece_count--;
            request->pieces_done++;
        }
    }
    return done;
}

uint8_t *cml_body_place(struct cml_request *request, size_t *room) {
    if (request->revoked || request->sink == CML_SINK_COLLECT || request->spill_len > 0) {
        return NULL;
    }
    if (s_goes_to_file(request)) {
        return cml_file_place(request, room);
    }
    if (request->piece_count == 0) {
        return NULL;
    }
    const struct cml_piece *piece = &request->pieces[request->piece_head];
    *room = piece->capacity - piece->filled;
    return piece->data != NULL ? piece->data + piece->filled : NULL;
}

static bool s_spill(struct cml_request *request, const uint8_t *data, size_t length) {
    if (request->spill_len + length > request->spill_cap) {
        size_t cap = request->spill_cap ? request->spill_cap : 4096;
        while (cap < request->spill_len + length) {
            cap *= 2;
        }
        uint8_t *grown = realloc(request->spill, cap);
        if (grown == NULL) {
            return false;
        }
        request->spill = grown;
        request->spill_cap = cap;
    }
    memcpy(request->spill + request->spill_len, data, length);
    request->spill_len += length;
    return true;
}

void cml_body_drain_spill(struct cml_request *request) {
    if (request->spill_len == 0) {
        return;
    }
    size_t moved = s_fill_room(request, request->spill, request->spill_len);
    request->spill_len -= moved;
    if (request->spill_len > 0) {
        memmove(request->spill, request->spill + moved, request->spill_len);
    } else {
        free(request->spill);
        request->spill = NULL;
        request->spill_cap = 0;
    }
}

bool cml_body_reserve(struct cml_request *request, uint64_t length) {
    if (length > request->collect_limit || length > SIZE_MAX) {
        return false;
    }
    if (request->collected == NULL) {
        request->collected = cml_buffer_new((size_t)length);
        if (request->collected != NULL) {
            request->collected->length = 0;
        }
        return request->collected != NULL;
    }
    if (length <= request->collected->capacity) {
        return true;
    }
    struct cml_buffer *grown = cml_buffer_new((size_t)length * 2);
    if (grown == NULL) {
        return false;
    }
    memcpy(grown->data, request->collected->data, request->collected->length);
    grown->length = request->collected->length;
    cml_buffer_release(request->collected);
    request->collected = grown;
    return true;
}

/* A short body is fetched whole at once, as far as the budget goes: its consumer then waits once, not twice. That is
 * decided with the first headers, before anybody has seen them: a consumer who is told of them counts on it, and what
 * an attempt has left in the spill has its place before all that the next one brings. */
void cml_body_prefetch(struct cml_request *request) {
    int64_t length = request->response.content_length;
    if (request->sink != CML_SINK_STREAM || request->prefetched != NULL || length <= 0 ||
        request->headers_ready || request->received > 0 || (uint64_t)length > CML_PREFETCH_BYTES ||
        !cml_pool_has_room((size_t)length)) {
        return;
    }
    struct cml_buffer *buffer = cml_buffer_new((size_t)length);
    cml_request_lock(request);
    if (buffer != NULL && request->room_posted == 0 && !request->revoked) {
        request->prefetched = buffer;
        buffer = NULL;
        request->pieces[0] = (struct cml_piece){.data = request->prefetched->data, .capacity = (size_t)length};
        request->piece_head = 0;
        request->piece_count = 1;
        request->room_posted = (uint64_t)length;
    }
    pthread_mutex_unlock(&request->lock);
    cml_buffer_release(buffer);
}

/* Under lock. The room for a body that is fetched unasked becomes two pieces: the end of the first is news. */
static bool s_cut(struct cml_request *request, uint64_t at) {
    struct cml_piece *first = &request->pieces[request->piece_head];
    if (request->finished || request->piece_count != 1 ||
        at >= (uint64_t)(first->data - request->prefetched->data) + first->capacity) {
        return false; /* or it is cut there already, or revoked */
    }
    size_t length = (size_t)at - (size_t)(first->data - request->prefetched->data);
    request->pieces[(request->piece_head + 1) % request->piece_slots] =
        (struct cml_piece){.data = first->data + length, .capacity = first->capacity - length};
    first->capacity = length;
    request->piece_count = 2;
    return true;
}

uint64_t cml_request_claim_before(struct cml_request *request, uint64_t at) {
    cml_request_lock(request);
    bool is_here = request->received >= at;
    bool is_cut = !is_here && s_cut(request, at);
    uint64_t due = is_here ? 0 : request->pieces_done + 1;
    request->exposed = request->exposed || is_here;
    pthread_mutex_unlock(&request->lock);
    if (is_cut) {
        cml_shard_post(request, CML_MSG_FEED);
    }
    return due;
}

static int s_collect(struct cml_request *request, const uint8_t *data, size_t length) {
    size_t have = request->collected != NULL ? request->collected->length : 0;
    if (!cml_body_reserve(request, have + length)) {
        return have + length > request->collect_limit ? CML_ERR_TOO_LARGE : CML_ERR_RESOURCES;
    }
    memcpy(request->collected->data + have, data, length);
    request->collected->length += length;
    return CML_OK;
}

int cml_body_store(struct cml_request *request, const uint8_t *data, size_t length, bool *filled) {
    int result = CML_OK;
    uint64_t done_before = request->pieces_done;
    if (request->sink == CML_SINK_COLLECT) {
        request->received += length;
        result = s_collect(request, data, length);
    } else {
        size_t done = s_fill_room(request, data, length);
        if (cml_file_os_error(request) != 0) {
            result = CML_ERR_FILE;
        } else if (done < length && request->sink == CML_SINK_BUFFER) {
            result = CML_ERR_TOO_LARGE;
        } else if (done < length && !s_spill(request, data + done, length - done)) {
            result = CML_ERR_RESOURCES;
        } else {
            request->received += length;
        }
    }
    *filled = request->pieces_done != done_before;
    return result;
}

/* Thousands of parked responses would hold 64 KiB each, outside of any budget. A checksum can only begin anew. */
void cml_body_drop_spill(struct cml_request *request) {
    cml_request_lock(request);
    bool all = request->spill_len == request->received;
    if (request->spill_len > 0 && (all || !request->sum_whole)) {
        request->received -= request->spill_len;
        request->spill_len = 0;
        free(request->spill);
        request->spill = NULL;
        request->spill_cap = 0;
    }
    pthread_mutex_unlock(&request->lock);
}

/* Under lock. Nobody has given room, so nobody has seen a byte nor can see one before there is some. */
static bool s_is_untouched(const struct cml_request *request) {
    return request->sink == CML_SINK_STREAM && request->file == NULL && request->room_posted == 0 &&
           request->spill_len == request->received;
}

bool cml_body_is_untouched(struct cml_request *request) {
    cml_request_lock(request);
    bool untouched = s_is_untouched(request);
    pthread_mutex_unlock(&request->lock);
    return untouched;
}

bool cml_body_forget(struct cml_request *request) {
    cml_request_lock(request);
    bool untouched = s_is_untouched(request);
    if (untouched) {
        free(request->spill);
        request->spill = NULL;
        request->spill_len = request->spill_cap = 0;
        request->received = 0;
    }
    pthread_mutex_unlock(&request->lock);
    return untouched;
}

bool cml_body_restart(struct cml_request *request) {
    cml_request_lock(request);
    if (s_goes_to_file(request)) {
        bool unseen = !request->revoked && request->pieces_done == 0;
        if (unseen) {
            request->spill_len = 0;
            request->received = 0;
            cml_file_restart(request);
        }
        pthread_mutex_unlock(&request->lock);
        return unseen;
    }
    /* More pieces than there are slots: some were done and their slots given out again. */
    if (request->exposed || request->revoked || request->piece_count + request->pieces_done > request->piece_slots) {
        pthread_mutex_unlock(&request->lock);
        return false;
    }
    for (uint32_t i = 0; i < request->piece_slots; ++i) {
        request->pieces[i].filled = 0;
    }
    /* Pieces that were full but not yet shown to anybody become room again. */
    request->piece_head =
        (request->piece_head + request->piece_slots - (uint32_t)request->pieces_done) % request->piece_slots;
    request->piece_count += (uint32_t)request->pieces_done;
    request->pieces_done = 0;
    request->spill_len = 0;
    request->received = 0;
    pthread_mutex_unlock(&request->lock);
    cml_buffer_release(request->collected);
    request->collected = NULL;
    return true;
}

void cml_body_finish(struct cml_request *request) {
    if (request->piece_count > 0 && request->pieces[request->piece_head].filled > 0) {
        request->piece_head = (request->piece_head + 1) % request->piece_slots; /* it is done once, whatever is fed yet */
        request->piece_count--;
        request->pieces_done++;
    }
}

bool cml_request_reserve_pieces(struct cml_request *request, uint32_t pieces) {
    if (pieces <= request->piece_slots) {
        return true;
    }
    struct cml_piece *slots = calloc(pieces, sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    cml_request_lock(request);
    bool early = request->room_posted == 0;
    if (early) {
        struct cml_piece *before = request->pieces;
        request->pieces = slots;
        request->piece_slots = pieces;
        slots = before != request->own_pieces ? before : NULL;
    }
    pthread_mutex_unlock(&request->lock);
    free(slots);
    return early;
}

bool cml_request_feed(struct cml_request *request, void *data, size_t capacity) {
    cml_request_lock(request);
    bool taken = request->piece_count < request->piece_slots && !request->revoked && capacity > 0 &&
                 request->file == NULL;
    bool running = !request->finished;
    if (taken) {
        uint32_t at = (request->piece_head + request->piece_count) % request->piece_slots;
        request->pieces[at] = (struct cml_piece){.data = data, .capacity = capacity};
        request->piece_count++;
        request->room_posted += capacity;
        cml_body_drain_spill(request);
        if (request->finished && request->error == CML_OK && request->spill_len == 0) {
            cml_body_finish(request);
        }
    }
    pthread_mutex_unlock(&request->lock);
    if (taken && running && request->shard != NULL) {
        cml_shard_post(request, CML_MSG_FEED);
    }
    return taken;
}

void cml_request_revoke(struct cml_request *request) {
    cml_request_lock(request);
    request->revoked = true;
    request->piece_count = 0;
    cml_file_wait_quiet(request);
    pthread_mutex_unlock(&request->lock);
}

void cml_request_inherit(struct cml_request *request) {
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER; /* only children lock it, on first use */
    pthread_mutex_lock(&one_at_a_time);
    uint64_t now = cml_runtime_generation();
    if (atomic_load_explicit(&request->lock_generation, memory_order_relaxed) != now) {
        pthread_mutex_init(&request->lock, NULL);
        cml_file_inherit(request);
        if (!request->finished) {
            request->revoked = true;
            request->piece_count = 0;
        }
        atomic_store_explicit(&request->lock_generation, now, memory_order_release);
    }
    pthread_mutex_unlock(&one_at_a_time);
}

void cml_request_progress(struct cml_request *request, struct cml_progress *out) {
    cml_request_lock(request);
    out->headers_ready = request->headers_ready;
    out->finished = request->finished;
    out->error = request->error;
    out->crt_error = request->crt_error;
    out->os_error = cml_file_os_error(request);
    out->attempts = request->attempts;
    out->in_doubt = request->in_doubt;
    out->pieces_done = request->pieces_done;
    out->waiting = request->spill_len;
    out->delivered = request->received - request->spill_len;
    pthread_mutex_unlock(&request->lock);
}

uint64_t cml_request_claim(struct cml_request *request, uint64_t *delivered) {
    cml_request_lock(request);
    uint64_t done = request->pieces_done;
    *delivered = request->received - request->spill_len;
    request->exposed = request->exposed || done > 0;
    pthread_mutex_unlock(&request->lock);
    return done;
}
