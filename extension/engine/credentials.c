/* Credential snapshots.
 *
 * Owns the current snapshot of each source and the requests that wait for one. A refresher (a thread of core/) is told
 * through a queue when a fresh snapshot is wanted, at most once at a time, and publishes from its own thread. The
 * engine only ever reads a snapshot: a request that finds none waits in the list, off the loop's way.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct cml_credentials {
    atomic_int refs;
    struct cml_queue *wanted_queue; /* immutable; NULL for static credentials */
    void *user_data;                /* immutable */
    struct cml_node wanted_node;
    atomic_bool queued;   /* wanted_node is on the queue, with a reference */
    pthread_mutex_t lock; /* all below */
    struct aws_credentials *snapshot;
    uint64_t expires_ms, refresh_ms, published_ns;
    uint64_t publication; /* counts the snapshots */
    bool wanted; /* until something is published */
    bool failed;
    char failure[512];
    struct cml_link waiters;
};

static uint64_t s_unix_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct cml_credentials *cml_credentials_new(struct cml_queue *wanted, void *user_data) {
    struct cml_credentials *source = calloc(1, sizeof(*source));
    if (source == NULL) {
        return NULL;
    }
    atomic_init(&source->refs, 1);
    source->wanted_queue = wanted;
    if (wanted != NULL) {
        cml_queue_acquire(wanted);
    }
    source->user_data = user_data;
    pthread_mutex_init(&source->lock, NULL);
    cml_link_init(&source->waiters);
    return source;
}

void cml_credentials_acquire(struct cml_credentials *source) {
    atomic_fetch_add_explicit(&source->refs, 1, memory_order_relaxed);
}

void cml_credentials_release(struct cml_credentials *source) {
    if (source == NULL || atomic_fetch_sub_explicit(&source->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (source->snapshot != NULL) {
        aws_credentials_release(source->snapshot);
    }
    cml_queue_release(source->wanted_queue);
    pthread_mutex_destroy(&source->lock);
    free(source);
}

void *cml_credentials_user_data_of_node(struct cml_node *node) {
    struct cml_credentials *source = CML_CONTAINER_OF(node, struct cml_credentials, wanted_node);
    void *user_data = source->user_data;
    atomic_store_explicit(&source->queued, false, memory_order_release);
    cml_credentials_release(source); /* twin: s_want */
    return user_data;
}

/* Under the lock. The refresher clears `wanted` by publishing. */
static void s_want(struct cml_credentials *source) {
    if (source->wanted || source->wanted_queue == NULL) {
        return;
    }
    source->wanted = true;
    /* It may be there still, when something was published before the refresher looked. */
    if (!atomic_exchange_explicit(&source->queued, true, memory_order_acq_rel)) {
        cml_credentials_acquire(source); /* the node's; twin: cml_credentials_user_data_of_node */
        cml_queue_push(source->wanted_queue, &source->wanted_node);
    }
}

/* Under the lock: hands every waiter its news; each is a message to its own loop. */
static void s_wake_waiters(struct cml_credentials *source) {
    while (!cml_link_empty(&source->waiters)) {
        struct cml_request *request = CML_CONTAINER_OF(source->waiters.next, struct cml_request, credentials_link);
        cml_link_remove(&request->credentials_link);
        cml_shard_post(request, CML_MSG_CREDENTIALS);
    }
}

void cml_credentials_publish(struct cml_credentials *source, const char *access_key, const char *secret,
                             const char *token, uint64_t expires_ms, uint64_t refresh_ms) {
    struct aws_allocator *alloc = aws_default_allocator();
    struct aws_credentials *fresh =
        access_key == NULL
            ? aws_credentials_new_anonymous(alloc)
            : aws_credentials_new(alloc, aws_byte_cursor_from_c_str(access_key), aws_byte_cursor_from_c_str(secret),
                                  aws_byte_cursor_from_c_str(token ? token : ""), UINT64_MAX);
    pthread_mutex_lock(&source->lock);
    struct aws_credentials *old = source->snapshot;
    source->snapshot = fresh;
    source->expires_ms = expires_ms;
    source->refresh_ms = refresh_ms;
    source->published_ns = cml_now_ns();
    source->publication++;
    source->wanted = false;
    source->failed = false;
    s_wake_waiters(source);
    pthread_mutex_unlock(&source->lock);
    if (old != NULL) {
        aws_credentials_release(old);
    }
}

void cml_credentials_publish_failure(struct cml_credentials *source, const char *message) {
    pthread_mutex_lock(&source->lock);
    strncpy(source->failure, message, sizeof(source->failure) - 1);
    source->wanted = false;
    source->failed = true;
    /* A snapshot that is still valid goes on serving; the source is asked again in a second. */
    source->refresh_ms = s_unix_ms() + 1000;
    s_wake_waiters(source);
    pthread_mutex_unlock(&source->lock);
}

size_t cml_credentials_failure(struct cml_credentials *source, char *out, size_t capacity) {
    pthread_mutex_lock(&source->lock);
    size_t length = strlen(source->failure);
    if (length >= capacity) {
        length = capacity - 1;
    }
    memcpy(out, source->failure, length);
    out[length] = 0;
    pthread_mutex_unlock(&source->lock);
    return length;
}

void cml_credentials_invalidate(struct cml_credentials *source) {
    pthread_mutex_lock(&source->lock);
    if (source->wanted_queue != NULL && source->snapshot != NULL) {
        aws_credentials_release(source->snapshot);
        source->snapshot = NULL;
    }
    pthread_mutex_unlock(&source->lock);
}

bool cml_credentials_reject(struct cml_credentials *source, uint64_t publication) {
    bool hope = false;
    pthread_mutex_lock(&source->lock);
    if (source->wanted_queue == NULL) {
        hope = false; /* static: there are no others */
    } else if (source->snapshot == NULL || source->publication != publication) {
        hope = true; /* others are on their way, or here already */
    } else if (cml_now_ns() - source->published_ns > 5000000000ull) {
        /* A snapshot that has just been made is not at fault: the refusal means what it says. */
        aws_credentials_release(source->snapshot);
        source->snapshot = NULL;
        s_want(source);
        hope = true;
    }
    pthread_mutex_unlock(&source->lock);
    return hope;
}

enum cml_credentials_state cml_credentials_get(struct cml_credentials *source, struct cml_request *waiter,
                                               struct aws_credentials **out, uint64_t *publication) {
    enum cml_credentials_state state = CML_WAIT_CREDENTIALS;
    pthread_mutex_lock(&source->lock);
    uint64_t now_ms = source->wanted_queue != NULL ? s_unix_ms() : 0;
    bool valid = source->snapshot != NULL && (source->expires_ms == 0 || now_ms < source->expires_ms);
    /* refresh_ms also holds the moment until which a failed source is left in peace */
    bool due = source->refresh_ms == 0 ? !valid : now_ms >= source->refresh_ms;
    if (due || (!valid && !source->failed)) {
        source->failed = false;
        s_want(source);
    }
    if (valid) {
        *out = source->snapshot;
        *publication = source->publication;
        aws_credentials_acquire(source->snapshot);
        state = CML_HAVE_CREDENTIALS;
    } else if (!source->wanted) {
        state = CML_NO_CREDENTIALS;
    } else if (waiter != NULL && cml_link_empty(&waiter->credentials_link)) {
        cml_link_push_back(&source->waiters, &waiter->credentials_link);
    }
    pthread_mutex_unlock(&source->lock);
    return state;
}

void cml_credentials_unwait(struct cml_credentials *source, struct cml_request *request) {
    pthread_mutex_lock(&source->lock);
    cml_link_remove(&request->credentials_link);
    pthread_mutex_unlock(&source->lock);
}
