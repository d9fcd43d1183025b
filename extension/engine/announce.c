/* Announcements: the notes by which a request's news reaches the queue of whoever waits for it.
 *
 * At most one note of a request is waiting to be drained at a time, on the queue the request points to. When the request
 * is pointed to another queue, a note that still sits on the old one goes stale: whoever drains it there, if anybody
 * does, just throws it away, and news goes to the new queue as if it had never been. A note holds a reference on its
 * request, and the drainer takes that over.
 */
#include "internal.h"

#include <stdlib.h>

struct cml_note {
    struct cml_node node;
    struct cml_request *request;
    struct cml_queue *queue; /* referenced until the push */
    bool stale;              /* under the request's lock */
};

struct cml_note *cml_note_claim(struct cml_request *request) {
    if (request->note != NULL) {
        return NULL;
    }
    struct cml_note *note = calloc(1, sizeof(*note));
    if (note == NULL) {
        abort(); /* as the CRT does: a request that can't be ended would hang its caller */
    }
    note->request = request;
    note->queue = request->queue;
    request->note = note;
    cml_queue_acquire(note->queue);
    cml_request_acquire(request); /* the drainer's */
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
    pthread_mutex_lock(&request->lock);
    struct cml_note *note = cml_note_claim(request);
    pthread_mutex_unlock(&request->lock);
    cml_note_push(note);
}

struct cml_request *cml_request_of_node(struct cml_node *node, bool *last) {
    struct cml_note *note = CML_CONTAINER_OF(node, struct cml_note, node);
    struct cml_request *request = note->request;
    pthread_mutex_lock(&request->lock);
    bool stale = note->stale;
    if (!stale) {
        request->note = NULL;
        *last = request->finished;
    }
    pthread_mutex_unlock(&request->lock);
    free(note);
    if (stale) {
        cml_request_release(request);
        return NULL;
    }
    return request;
}

bool cml_request_retarget(struct cml_request *request, struct cml_queue *queue) {
    cml_queue_acquire(queue);
    pthread_mutex_lock(&request->lock);
    struct cml_queue *old = request->queue;
    request->queue = queue;
    if (request->note != NULL && old != queue) {
        request->note->stale = true;
        request->note = NULL;
    }
    bool finished = request->finished;
    pthread_mutex_unlock(&request->lock);
    cml_queue_release(old);
    return !finished;
}
