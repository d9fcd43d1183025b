/* A body's way to a file: what arrives is read into a few large buffers, and the disk's threads write those that are
 * full and make them room again. The connection's flow control waits for that room, as it does for any consumer. Where
 * nobody has to see the bytes, for a checksum or to decrypt them, a pipe stands in for each buffer (pipes.h).
 *
 * All under the request's lock, but for the writing itself. Always true: one thread at most writes for a request, and
 * its buffers in order; nothing is written once the request is revoked, and a revoke waits for the write under way;
 * a request has not ended while a byte of it has still to be written.
 */
#include "bulk.h"
#include "pipes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFERS 3 /* one being filled, one being written, one to go on with. Measured: docs/design/files.md */
#define BUFFER_BYTES ((size_t)1 << 20)
#define PIPED_BYTES ((size_t)768 << 10) /* what a pipe of 1 MiB is sure to hold of segments of 64 KiB, on loopback */
#define LEAST_PIPED_BYTES ((size_t)256 << 10) /* fewer, since packets are small, cost more than to copy them */
#define STEP_BYTES ((size_t)256 << 10) /* of a write: what a revoke may have to wait for */

#define SPANS CML_PIECES

struct s_span {
    int fd;
    uint64_t offset, length;
};

#define LEAST_RESERVED_BYTES ((uint64_t)1 << 20)
#define MOST_RESERVED_BYTES ((uint64_t)64 << 20)

struct s_slot {
    struct cml_buffer *buffer; /* NULL until first used */
    struct cml_pipe *pipe;     /* likewise */
    bool piped;                /* what fills it is in the pipe */
    size_t filled;
    size_t in_pipe; /* more than fills it when a connection broke off with bytes on their way: these are of no use */
    int fd;
    uint64_t at;     /* where in the file its first byte goes */
    uint64_t reserved; /* bytes that are to follow from there on; 0 if it does not begin a span, or a short one */
    bool ends_span;
};

struct cml_file {
    struct cml_disk_job job; /* while queued it holds a reference on the request */
    struct cml_request *request;
    pthread_cond_t quiet; /* told when a write is over */
    struct s_span spans[SPANS]; /* where the body goes, one after the other */
    uint32_t span_count, span;  /* the one that is being filled */
    uint64_t span_taken, taken; /* bytes of it, and of all, that are in buffers or written */
    struct s_slot slots[BUFFERS];
    uint32_t first, sealed; /* from the first on, so many wait to be written; the next is being filled */
    bool queued, writing;
    bool ending; /* the end has come, but for what has to be written */
    bool copies; /* there is no pipe to be had, or it is of no use */
    size_t slot_bytes; /* how much each may hold: less where a pipe was full before that, as packets make it */
    int os_error;
};

static struct s_slot *s_filling(struct cml_file *file) {
    return file->sealed < BUFFERS ? &file->slots[(file->first + file->sealed) % BUFFERS] : NULL;
}

static bool s_stopped(const struct cml_request *request) {
    return request->revoked || request->file->os_error != 0;
}

/* The first error is the one that is told; 0 is none. */
static void s_failed(struct cml_file *file, int error) {
    file->os_error = file->os_error != 0 ? file->os_error : error;
}

static void s_post_room(struct cml_request *request) {
    struct cml_file *file = request->file;
    struct s_slot *slot = s_filling(file);
    uint64_t space = (uint64_t)(BUFFERS - file->sealed) * file->slot_bytes;
    uint64_t spoken_for = (slot != NULL ? slot->filled : 0) + CML_SPILL_BYTES; /* that much comes without being asked for */
    space = space > spoken_for ? space - spoken_for : 0;
    uint64_t left = 0;
    for (uint32_t i = file->span; i < file->span_count && left < space; ++i) {
        left += file->spans[i].length - (i == file->span ? file->span_taken : 0);
    }
    request->room_posted = file->taken + (space < left ? space : left);
}

static void s_queue(struct cml_file *file) {
    if (file->queued || file->sealed == 0 || s_stopped(file->request)) {
        return;
    }
    file->queued = true;
    file->job.file = file->slots[file->first].fd;
    cml_request_acquire(file->request); /* given back in _on_disk */
    int error = cml_disk_post(&file->job);
    if (error != 0) {
        file->queued = false;
        s_failed(file, error);
        cml_request_release(file->request); /* not the last: who is here has one */
    }
}

static void s_seal(struct cml_file *file) {
    struct s_slot *slot = s_filling(file);
    if (slot != NULL && slot->filled > 0) {
        file->sealed++;
        s_queue(file);
    }
}

static size_t s_room_in(const struct cml_file *file, const struct s_slot *slot) {
    uint64_t left = file->spans[file->span].length - file->span_taken;
    uint64_t room = file->slot_bytes > slot->filled ? file->slot_bytes - slot->filled : 0;
    return (size_t)(room < left ? room : left);
}

static void s_drop_pipe(struct s_slot *slot) {
    struct cml_pipe *pipe = slot->pipe;
    slot->pipe = NULL;
    slot->in_pipe = 0;
    cml_pipe_free(pipe);
}

static bool s_have_pipe(struct cml_file *file, struct s_slot *slot) {
    if (slot->filled == 0 && slot->in_pipe > 0) {
        s_drop_pipe(slot);
    }
    if (slot->pipe == NULL) {
        slot->pipe = cml_pipe_new();
        file->copies = slot->pipe == NULL;
    }
    return slot->pipe != NULL;
}

static bool s_have_buffer(struct cml_file *file, struct s_slot *slot) {
    if (slot->buffer == NULL) {
        slot->buffer = cml_buffer_new(BUFFER_BYTES);
        s_failed(file, slot->buffer == NULL ? ENOMEM : 0);
    }
    return slot->buffer != NULL;
}

/* Where the next bytes go, with what it needs for that; NULL where there is no room. */
static struct s_slot *s_open_slot(struct cml_file *file) {
    bool pipes = file->request->unseen && !file->copies;
    struct s_slot *slot = s_filling(file);
    if (slot != NULL && slot->filled > 0 && (slot->piped != pipes || (pipes && slot->in_pipe != slot->filled))) {
        s_seal(file);
        slot = s_filling(file);
    }
    if (slot == NULL) {
        return NULL;
    }
    slot->piped = pipes && s_have_pipe(file, slot);
    return slot->piped || s_have_buffer(file, slot) ? slot : NULL;
}

static struct s_slot *s_next_slot(struct cml_request *request, size_t *room) {
    struct cml_file *file = request->file;
    bool open = file->span < file->span_count && !s_stopped(request);
    struct s_slot *slot = open ? s_open_slot(file) : NULL;
    *room = slot != NULL ? s_room_in(file, slot) : 0;
    return slot;
}

uint8_t *cml_file_place(struct cml_request *request, size_t *room) {
    struct s_slot *slot = s_next_slot(request, room);
    return slot != NULL && !slot->piped ? slot->buffer->data + slot->filled : NULL;
}

struct cml_pipe *cml_file_pipe(struct cml_request *request, size_t *room) {
    if (request->file == NULL || request->prefetched != NULL || request->spill_len > 0 || !request->unseen) {
        return NULL;
    }
    struct s_slot *slot = s_next_slot(request, room);
    return slot != NULL && slot->piped ? slot->pipe : NULL;
}

void cml_file_piped(struct cml_request *request, size_t length) {
    s_filling(request->file)->in_pipe += length;
}

bool cml_file_pipe_is_full(struct cml_request *request) {
    struct cml_file *file = request->file;
    struct s_slot *slot = s_filling(file);
    if (slot == NULL || slot->filled == 0) { /* nothing in it: so it is not full */
        return false;
    }
    if (slot->filled < LEAST_PIPED_BYTES) {
        file->copies = true;
    } else if (slot->filled < file->slot_bytes) {
        file->slot_bytes = slot->filled;
    }
    s_seal(file);
    return true;
}

/* Brings bytes to their slot, if they aren't there; how many. */
static size_t s_put(struct s_slot *slot, const uint8_t *data, size_t length) {
    if (cml_pipe_is_nowhere(data)) {
        return length;
    }
    if (slot->piped) { /* a few, that came with the headers or while there was no room */
        size_t put = cml_pipe_write(slot->pipe, data, length);
        slot->in_pipe += put;
        return put;
    }
    if (slot->buffer->data + slot->filled != data) { /* else they were read to there */
        memcpy(slot->buffer->data + slot->filled, data, length);
    }
    return length;
}

static void s_fill(struct cml_file *file, struct s_slot *slot, size_t length) {
    const struct s_span *span = &file->spans[file->span];
    if (slot->filled == 0) {
        slot->fd = span->fd;
        slot->at = span->offset + file->span_taken;
        uint64_t most = span->length < MOST_RESERVED_BYTES ? span->length : MOST_RESERVED_BYTES;
        slot->reserved = file->span_taken == 0 && most >= LEAST_RESERVED_BYTES ? most : 0;
    }
    slot->filled += length;
    file->taken += length;
    file->span_taken += length;
    slot->ends_span = file->span_taken == span->length;
    if (slot->ends_span) {
        file->span++;
        file->span_taken = 0;
    }
    if (slot->ends_span || slot->filled >= file->slot_bytes) {
        s_seal(file);
    }
}

size_t cml_file_take(struct cml_request *request, const uint8_t *data, size_t length) {
    struct cml_file *file = request->file;
    bool spliced = cml_pipe_is_nowhere(data);
    size_t done = 0;
    while (done < length && file->span < file->span_count && !s_stopped(request)) {
        struct s_slot *slot = spliced ? s_filling(file) : s_open_slot(file);
        if (slot == NULL) {
            break;
        }
        assert(!spliced || slot->in_pipe == slot->filled + length - done);
        size_t room = s_room_in(file, slot), take = s_put(slot, data + done, length - done < room ? length - done : room);
        if (take > 0) {
            s_fill(file, slot, take);
            done += take;
        } else if (!cml_file_pipe_is_full(request)) {
            file->copies = true; /* an empty pipe that takes nothing */
        }
    }
    return done;
}

int cml_file_os_error(const struct cml_request *request) {
    if (request->bulk != NULL) {
        return request->bulk->os_error;
    }
    return request->file != NULL ? request->file->os_error : 0;
}

/* What is in it is of no use, or has been written; a pipe may hold some of it still. */
static void s_empty(struct s_slot *slot) {
    if (slot->in_pipe > 0) {
        s_drop_pipe(slot);
    }
    slot->piped = false;
    slot->filled = 0;
}

void cml_file_restart(struct cml_request *request) {
    struct cml_file *file = request->file;
    file->sealed = file->writing ? 1 : 0; /* what comes now at its place is written after it */
    for (uint32_t i = 0; i < BUFFERS; ++i) {
        file->slots[i].ends_span = false;
        if (!file->writing || i != file->first) {
            s_empty(&file->slots[i]);
        }
    }
    file->taken = file->span_taken = 0;
    file->span = 0;
    s_post_room(request);
}

/* ---- the end ---- */

/* A short body that was fetched unasked has a buffer already: it is written as it is. */
static void s_take_prefetched(struct cml_request *request) {
    struct cml_file *file = request->file;
    struct s_slot *slot = &file->slots[file->first];
    cml_buffer_acquire(request->prefetched);
    slot->buffer = request->prefetched;
    slot->filled = slot->buffer->length < file->spans[0].length ? slot->buffer->length : (size_t)file->spans[0].length;
    slot->fd = file->spans[0].fd;
    slot->at = file->spans[0].offset;
    file->taken = slot->filled;
    s_seal(file);
}

static bool s_may_end(const struct cml_request *request) {
    const struct cml_file *file = request->file;
    return !file->writing && (file->sealed == 0 || s_stopped(request));
}

static void s_free_slots(struct cml_file *file) {
    for (uint32_t i = 0; i < BUFFERS; ++i) {
        cml_buffer_release(file->slots[i].buffer);
        s_drop_pipe(&file->slots[i]);
        file->slots[i] = (struct s_slot){.buffer = NULL};
    }
    file->first = file->sealed = 0;
}

static void s_seal_last(struct cml_request *request) {
    struct s_slot *slot = s_filling(request->file);
    if (request->spill_len == 0 && slot != NULL) {
        slot->ends_span = slot->filled > 0; /* the body ends before it does */
        s_seal(request->file);
    }
}

bool cml_file_ends_later(struct cml_request *request, int error) {
    struct cml_file *file = request->file;
    if (file == NULL) {
        return false;
    }
    if (error != CML_OK) { /* what has come is of no use */
        file->sealed = file->writing ? 1 : 0;
    } else if (request->prefetched != NULL) {
        s_take_prefetched(request);
    } else {
        s_seal_last(request);
    }
    file->ending = !s_may_end(request);
    return file->ending;
}

void cml_file_ended(struct cml_request *request) {
    if (request->file != NULL) {
        s_free_slots(request->file);
        if (request->file->os_error != 0 && request->error != CML_ERR_SHUTDOWN) {
            request->error = CML_ERR_FILE;
            request->crt_error = 0;
        }
    }
}

/* ---- the disk's threads ---- */

/* 0 also when it was stopped midway; or what the system said. */
static int s_write(struct cml_request *request, const struct s_slot *slot, size_t *written) {
    size_t done = 0;
    if (slot->reserved > slot->filled && !slot->ends_span) { /* more is to come than this */
        cml_disk_reserve(slot->fd, slot->at, slot->reserved);
    }
    while (done < slot->filled) {
        if (done > 0 && cml_request_is_revoked(request)) {
            break;
        }
        size_t take = slot->filled - done < STEP_BYTES ? slot->filled - done : STEP_BYTES;
        ssize_t put = slot->piped ? cml_pipe_drain(slot->pipe, slot->fd, slot->at + done, take)
                                  : pwrite(slot->fd, slot->buffer->data + done, take, (off_t)(slot->at + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return put < 0 ? errno : EIO;
        }
        *written = done += (size_t)put;
    }
    return 0;
}

static void s_write_first(struct cml_request *request) {
    struct cml_file *file = request->file;
    struct s_slot slot = file->slots[file->first];
    file->writing = true;
    pthread_mutex_unlock(&request->lock);
    size_t written = 0;
    int os_error = s_write(request, &slot, &written);
    cml_request_lock(request);
    file->writing = false;
    s_failed(file, os_error);
    file->slots[file->first].in_pipe -= slot.piped ? written : 0;
    s_empty(&file->slots[file->first]);
    request->pieces_done += file->slots[file->first].ends_span && os_error == 0; /* no longer, after a restart */
    file->first = (file->first + 1) % BUFFERS;
    file->sealed--;
    cml_body_drain_spill(request);
    if (file->ending) {
        s_seal_last(request);
    }
    s_post_room(request);
    pthread_cond_broadcast(&file->quiet);
}

static void _on_disk(struct cml_disk_job *job) {
    struct cml_file *file = CML_CONTAINER_OF(job, struct cml_file, job);
    struct cml_request *request = file->request;
    struct cml_note *note = NULL;
    cml_request_lock(request);
    uint64_t pieces_before = request->pieces_done;
    if (file->sealed > 0 && !s_stopped(request)) {
        s_write_first(request);
    }
    file->queued = false;
    bool ended = file->ending && s_may_end(request);
    if (ended) {
        file->ending = false;
        note = cml_request_ended(request);
    } else {
        s_queue(file); /* behind those of other requests */
        note = request->pieces_done > pieces_before ? cml_note_claim(request) : NULL;
    }
    bool failed = file->os_error != 0, running = !request->finished && !file->ending;
    pthread_mutex_unlock(&request->lock);
    if (running && request->shard != NULL) {
        cml_shard_post(request, failed ? CML_MSG_CANCEL : CML_MSG_FEED);
    }
    cml_note_push(note);
    if (ended) {
        cml_request_release(request); /* twin: cml_request_submit, or cml_request_feed_file */
    }
    cml_request_release(request); /* twin: s_queue */
}

/* ---- the consumer's side ---- */

static struct cml_file *s_new(struct cml_request *request) {
    struct cml_file *file = calloc(1, sizeof(*file));
    if (file != NULL) {
        file->job.run = _on_disk;
        file->request = request;
        file->slot_bytes = PIPED_BYTES;
        pthread_cond_init(&file->quiet, NULL);
    }
    return file;
}

/* Under lock. Makes the file on first use. */
static bool s_may_feed(struct cml_request *request) {
    if (request->revoked || request->sink == CML_SINK_COLLECT) {
        return false;
    }
    bool has_no_room = request->room_posted == 0 || (request->prefetched != NULL && !request->exposed);
    if (request->file == NULL && has_no_room) {
        request->file = s_new(request);
    }
    return request->file != NULL && request->file->span_count < (request->prefetched != NULL ? 1 : SPANS);
}

/* Under lock. The body is here already, whole: the request is under way again until it is written. */
static bool s_reopen(struct cml_request *request) {
    cml_body_drain_spill(request);
    if (!cml_file_ends_later(request, CML_OK)) {
        cml_file_ended(request);
        return false;
    }
    request->finished = false;
    cml_request_acquire(request); /* twin: _on_disk */
    return true;
}

enum cml_fed cml_request_feed_file(struct cml_request *request, int fd, uint64_t offset, uint64_t length) {
    if (request->bulk != NULL) {
        return cml_bulk_feed_file(request, fd, offset, length) ? CML_FED : CML_FED_REFUSED;
    }
    cml_request_lock(request);
    bool taken = length > 0 && s_may_feed(request);
    bool finished = request->finished, again = false;
    if (taken) {
        struct cml_file *file = request->file;
        file->spans[file->span_count++] = (struct s_span){.fd = fd, .offset = offset, .length = length};
        if (request->shard == NULL) {
            request->sink = CML_SINK_STREAM; /* its connection's flow control waits for the disk */
        }
        if (finished && request->error == CML_OK) {
            again = s_reopen(request);
        } else if (!finished && request->prefetched == NULL) {
            cml_body_drain_spill(request);
            s_post_room(request);
        }
    }
    pthread_mutex_unlock(&request->lock);
    if (taken && !finished && request->shard != NULL) {
        cml_shard_post(request, CML_MSG_FEED);
    }
    return again ? CML_FED_AGAIN : taken ? CML_FED : CML_FED_REFUSED;
}

void cml_file_wait_quiet(struct cml_request *request) {
    while (request->file != NULL && request->file->writing) {
        pthread_cond_wait(&request->file->quiet, &request->lock);
    }
}

void cml_file_inherit(struct cml_request *request) {
    struct cml_file *file = request->file;
    if (file != NULL) {
        pthread_cond_init(&file->quiet, NULL);
        file->writing = file->queued = false;
    }
}

void cml_file_free(struct cml_file *file) {
    if (file != NULL) {
        s_free_slots(file);
        pthread_cond_destroy(&file->quiet);
        free(file);
    }
}
