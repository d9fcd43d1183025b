#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#    include <sys/eventfd.h>
#endif

struct cml_queue {
    _Atomic(struct cml_node *) head; /* any thread */
    atomic_int refs;                 /* any thread */
    int read_fd;                     /* immutable; -1 for a condition queue */
    int write_fd;                    /* immutable; the same as read_fd with eventfd */
    pthread_mutex_t mutex;           /* condition queues only */
    pthread_cond_t cond;
    bool poked;                        /* under mutex */
    bool in_turn;                      /* under mutex: the reader sleeps until it is its turn */
    struct cml_queue *before, *behind; /* in the line, under s_turns.mutex */
};

/* Turns: of the threads that sleep in cml_queue_wait_in_turn, one at a time is woken. It holds the turn until it says
 * cml_queue_awake; those that have news by then stand in line. */
static struct {
    pthread_mutex_t mutex; /* taken inside a queue's */
    struct cml_queue *holder;
    struct cml_queue *first, *last; /* each is referenced */
} s_turns = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct cml_queue *s_queue_new(void) {
    struct cml_queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL) {
        return NULL;
    }
    atomic_init(&queue->head, NULL);
    atomic_init(&queue->refs, 1);
    queue->read_fd = queue->write_fd = -1;
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
#ifdef __linux__
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(&queue->cond, &attr);
    pthread_condattr_destroy(&attr);
    cml_live_add(CML_LIVE_QUEUES, 1);
    return queue;
}

static void s_drop_all(struct cml_node *node) {
    while (node != NULL) {
        struct cml_node *next = node->next;
        if (node->drop != NULL) {
            node->drop(node);
        }
        node = next;
    }
}

static void s_queue_destroy(struct cml_queue *queue) {
    s_drop_all(atomic_load_explicit(&queue->head, memory_order_acquire));
    if (queue->read_fd >= 0) {
        close(queue->read_fd);
    }
    if (queue->write_fd >= 0 && queue->write_fd != queue->read_fd) {
        close(queue->write_fd);
    }
    pthread_cond_destroy(&queue->cond);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
    cml_live_add(CML_LIVE_QUEUES, -1);
}

static int s_open_wake(struct cml_queue *queue) {
#ifdef __linux__
    queue->read_fd = queue->write_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return queue->read_fd < 0 ? -1 : 0;
#else
    int fds[2];
    if (pipe(fds) != 0) {
        return -1;
    }
    for (int i = 0; i < 2; ++i) {
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    }
    queue->read_fd = fds[0];
    queue->write_fd = fds[1];
    return 0;
#endif
}

struct cml_queue *cml_queue_new_fd(void) {
    struct cml_queue *queue = s_queue_new();
    if (queue != NULL && s_open_wake(queue) != 0) {
        int saved = errno;
        s_queue_destroy(queue);
        errno = saved;
        return NULL;
    }
    return queue;
}

struct cml_queue *cml_queue_new_cond(void) {
    return s_queue_new();
}

void cml_queue_acquire(struct cml_queue *queue) {
    atomic_fetch_add_explicit(&queue->refs, 1, memory_order_relaxed);
}

void cml_queue_release(struct cml_queue *queue) {
    if (queue != NULL && atomic_fetch_sub_explicit(&queue->refs, 1, memory_order_acq_rel) == 1) {
        s_queue_destroy(queue);
    }
}

/* Under both mutexes. True if the reader may be woken now. */
static bool s_line_up(struct cml_queue *queue) {
    if (s_turns.holder == NULL) {
        s_turns.holder = queue;
        return true;
    }
    if (s_turns.holder != queue && queue->before == NULL && s_turns.first != queue) {
        cml_queue_acquire(queue);
        queue->before = s_turns.last;
        queue->behind = NULL;
        *(s_turns.last != NULL ? &s_turns.last->behind : &s_turns.first) = queue;
        s_turns.last = queue;
    }
    return false;
}

/* Under s_turns.mutex. True if it stood in line: its reference is the caller's then. */
static bool s_leave_line(struct cml_queue *queue) {
    if (queue->before == NULL && s_turns.first != queue) {
        return false;
    }
    *(queue->before != NULL ? &queue->before->behind : &s_turns.first) = queue->behind;
    *(queue->behind != NULL ? &queue->behind->before : &s_turns.last) = queue->before;
    queue->before = queue->behind = NULL;
    return true;
}

void cml_queue_awake(struct cml_queue *queue) {
    struct cml_queue *next = NULL;
    pthread_mutex_lock(&s_turns.mutex);
    bool lined_up = s_leave_line(queue);
    if (s_turns.holder == queue) {
        next = s_turns.holder = s_turns.first;
        if (next != NULL) {
            s_leave_line(next);
        }
    }
    pthread_mutex_unlock(&s_turns.mutex);
    if (next != NULL) {
        pthread_cond_signal(&next->cond);
        cml_queue_release(next);
    }
    if (lined_up) {
        cml_queue_release(queue); /* never the last: the caller has one */
    }
}

void cml_queue_after_fork_in_child(void) {
    pthread_mutex_init(&s_turns.mutex, NULL);
    s_turns.holder = s_turns.first = s_turns.last = NULL;
}

int cml_queue_fd(const struct cml_queue *queue) {
    return queue->read_fd;
}

void cml_queue_poke(struct cml_queue *queue) {
    if (queue->write_fd >= 0) {
        /* A full pipe or a saturated counter already means "readable": the result does not matter. */
        uint64_t one = 1;
        ssize_t ignored = write(queue->write_fd, &one, queue->write_fd == queue->read_fd ? sizeof(one) : 1);
        (void)ignored;
        return;
    }
    /* Signalled after the unlock: a reader woken inside it would only run into the mutex. Every caller holds a
     * reference on the queue, so it is still there. */
    pthread_mutex_lock(&queue->mutex);
    queue->poked = true;
    bool now = true;
    if (queue->in_turn) {
        pthread_mutex_lock(&s_turns.mutex);
        now = s_line_up(queue);
        pthread_mutex_unlock(&s_turns.mutex);
    }
    pthread_mutex_unlock(&queue->mutex);
    if (now) {
        pthread_cond_signal(&queue->cond);
    }
}

void cml_queue_push(struct cml_queue *queue, struct cml_node *node) {
    struct cml_node *old = atomic_load_explicit(&queue->head, memory_order_relaxed);
    do {
        node->next = old;
    } while (!atomic_compare_exchange_weak_explicit(
        &queue->head, &old, node, memory_order_acq_rel, memory_order_relaxed));
    if (old == NULL) {
        cml_queue_poke(queue);
    }
}

static void s_consume_wake(struct cml_queue *queue) {
    if (queue->read_fd >= 0) {
        char scratch[64];
        ssize_t ignored = read(queue->read_fd, scratch, sizeof(scratch));
        (void)ignored;
    }
}

struct cml_node *cml_queue_take_all(struct cml_queue *queue) {
    s_consume_wake(queue);
    struct cml_node *node = atomic_exchange_explicit(&queue->head, NULL, memory_order_acq_rel);
    struct cml_node *oldest = NULL;
    while (node != NULL) {
        struct cml_node *next = node->next;
        node->next = oldest;
        oldest = node;
        node = next;
    }
    return oldest;
}

static struct timespec s_deadline(int timeout_ms) {
    struct timespec at;
#ifdef __linux__
    clock_gettime(CLOCK_MONOTONIC, &at);
#else
    clock_gettime(CLOCK_REALTIME, &at);
#endif
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec += 1;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

bool cml_queue_has_news(const struct cml_queue *queue) {
    return atomic_load_explicit(&queue->head, memory_order_acquire) != NULL;
}

static bool s_wait(struct cml_queue *queue, int timeout_ms, bool in_turn) {
    if (cml_queue_has_news(queue)) {
        return true;
    }
    struct timespec at = s_deadline(timeout_ms);
    pthread_mutex_lock(&queue->mutex);
    queue->in_turn = in_turn;
    while (!queue->poked && !cml_queue_has_news(queue)) {
        if (pthread_cond_timedwait(&queue->cond, &queue->mutex, &at) == ETIMEDOUT) {
            break;
        }
    }
    queue->poked = queue->in_turn = false;
    pthread_mutex_unlock(&queue->mutex);
    return cml_queue_has_news(queue);
}

bool cml_queue_wait(struct cml_queue *queue, int timeout_ms) {
    return s_wait(queue, timeout_ms, false);
}

bool cml_queue_wait_in_turn(struct cml_queue *queue, int timeout_ms) {
    return s_wait(queue, timeout_ms, true);
}
