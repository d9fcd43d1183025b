/* Announcements: the notes by which a request's news reaches the queue of whoever waits for it.
 *
 * At most one note of a request is waiting to be drained at a time, on the queue the request points to. The queue owns
 * the note, and the note a reference on its request, which is taken out of it once: by the drainer, who has it from
 * then on, or when the request is pointed to another queue. A note without it is stale: nobody's news, thrown away by
 * whoever drains the old queue, or with that queue. News goes to the new queue as if it had never been.
 *
 * So a queue never goes away under a note that is not stale (the note's request has a reference on it), and a stale
 * one keeps nothing but itself. A reader that stops reading has to point its requests elsewhere: a queue that nobody
 * drains and the requests that point to it would keep each other.
 */
#include "internal.h"

#include <assert.h>
#include <stdlib.h>

struct cml_note {
    struct cml_node node;
    _Atomic(struct cml_request *) request; /* with a reference; NULL once that has been taken */
    struct cml_queue *queue;               /* referenced until the push */
};

static struct cml_request *s_take_request(struct cml_note *note) {
    return atomic_exchange_explicit(&note->request, NULL, memory_order_acq_rel);
}

static void s_drop_note(struct cml_node *node) {
    struct cml_note *note = CML_CONTAINER_OF(node, struct cml_note, node);
    assert(atomic_load_explicit(&note->request, memory_order_acquire) == NULL);
    free(note);
}

struct cml_note *cml_note_claim(struct cml_request *request) {
    if (request->note != NULL || request->is_twin) { /* nobody has heard of a twin */
        return NULL;
    }
    struct cml_note *note = calloc(1, sizeof(*note));
    if (note == NULL) {
        abort(); /* as the CRT does: a request that can't be ended would hang its caller */
    }
    note->node.drop = s_drop_note;
    note->queue = request->queue;
    request->note = note;
    cml_queue_acquire(note->queue);
    cml_request_acquire(request); /* the note's */
    atomic_init(&note->request, request);
    return note;
}

void cml_note_push(struct cml_note *note) {
    if (note != NULL) {
        struct cml_queue *queue = note->queue; /* the note may be gone as soon as it is pushed */
        cml_queue_push(queue, &note->node);
        cml_queue_release(queue);
    }
}

void cml_request_announce(struct cml_request *request) {
    cml_request_lock(request);
    struct cml_note *note = cml_note_claim(request);
    pthread_mutex_unlock(&request->lock);
    cml_note_push(note);
}

/* False when the request was pointed elsewhere in this very moment: the news is told there. */
static bool s_close(struct cml_request *request, const struct cml_note *note, bool *last) {
    cml_request_lock(request);
    bool current = request->note == note;
    if (current) {
        request->note = NULL;
        *last = request->finished;
    }
    pthread_mutex_unlock(&request->lock);
    return current;
}

struct cml_request *cml_request_of_node(struct cml_node *node, bool *last) {
    struct cml_note *note = CML_CONTAINER_OF(node, struct cml_note, node);
    struct cml_request *request = s_take_request(note);
    if (request != NULL && !s_close(request, note, last)) {
        cml_request_release(request);
        request = NULL;
    }
    free(note); /* only now: until then the request may point to it */
    return request;
}

bool cml_request_retarget(struct cml_request *request, struct cml_queue *queue) {
    cml_queue_acquire(queue);
    cml_request_lock(request);
    struct cml_queue *old = request->queue;
    request->queue = queue;
    bool was_noted = false; /* false also for a note that a drainer has in hand */
    if (request->note != NULL && old != queue) {
        was_noted = s_take_request(request->note) != NULL;
        request->note = NULL;
    }
    bool finished = request->finished;
    pthread_mutex_unlock(&request->lock);
    cml_queue_release(old);
    if (was_noted) {
        cml_request_release(request); /* the note's; never the last, as the caller has one */
    }
    return !finished;
}
