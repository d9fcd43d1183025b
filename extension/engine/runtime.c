/* The process's runtime: event loops, resolver, shards, and the life of all that across fork and exit.
 *
 * A shard is one event loop and the requests given to it. Other threads reach a shard only through its inbox: they set
 * message bits on a request and push it; whoever finds the inbox empty schedules the task that drains it. All else
 * about a request happens on the loop's thread.
 */
#include "bulk.h"
#include "log.h"
#include "loop.h"

#include <aws/checksums/checksums.h>
#include <aws/common/clock.h>
#include <aws/common/device_random.h>
#include <aws/common/thread.h>
#include <aws/http/http.h>
#include <aws/io/channel.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Declared in a private header of aws-c-common; needed by a forked child (see cml_runtime_start). */
void aws_thread_initialize_thread_management(void);
void aws_thread_decrement_unjoined_count(void);
size_t aws_thread_get_managed_thread_count(void);

#define NAMED_WITHIN_NS 2000000000ull /* what CML_FLAG_NAMES asks for */
#define TRIM_AFTER_NS 5000000000ull /* idle buffers go back to the system after so long */

struct cml_runtime *cml_runtime;
static _Atomic uint64_t s_generation = 1;
static bool s_library_ready; /* under the caller's lock */
static bool s_forked;
static atomic_bool s_trimming; /* the first shard's sweeps look after the buffer pool */

uint64_t cml_runtime_generation(void) {
    return atomic_load_explicit(&s_generation, memory_order_relaxed);
}

static void s_prepare_library(void) {
    if (s_library_ready) {
        return;
    }
    /* Bounds what one read brings and one write sends. Measured: docs/design/native-core.md. */
    g_aws_channel_max_fragment_size = CML_MESSAGE_BYTES;
    aws_s3_library_init(aws_default_allocator()); /* and auth, http, io */
    aws_checksums_library_init(aws_default_allocator());
    cml_log_install();
    s_library_ready = true;
}

/* The parent's managed threads do not exist in a forked child, but aws-c-common still counts them and would wait. */
static void s_forget_threads_of_parent(void) {
    if (!s_forked) {
        return;
    }
    s_forked = false;
    aws_thread_initialize_thread_management();
    while (aws_thread_get_managed_thread_count() > 0) {
        aws_thread_decrement_unjoined_count();
    }
}

static void _on_inbox(struct aws_task *task, void *arg, enum aws_task_status status);
static void _on_pool_idle(void);
static void _on_sweep(struct aws_task *task, void *arg, enum aws_task_status status);

static void s_shard_init(struct cml_shard *shard, struct cml_runtime *runtime, uint32_t index, uint32_t connections) {
    shard->loop = aws_event_loop_group_get_loop_at(runtime->loops, index);
    shard->index = index;
    shard->most_connections = connections;
    atomic_init(&shard->inbox, NULL);
    atomic_init(&shard->in_flight, 0);
    cml_loop_set_busy(shard->loop, &shard->in_flight);
    aws_task_init(&shard->inbox_task, _on_inbox, shard, "cumulo_inbox");
    aws_task_init(&shard->sweep_task, _on_sweep, shard, "cumulo_sweep");
    cml_link_init(&shard->live);
    cml_link_init(&shard->endpoints);
    cml_link_init(&shard->to_pump);
    shard->sweep_at_ns = UINT64_MAX;
}

/* With its first random number aws-c-common opens a file, and ends the process if it can't: that is not to be when a
 * retry takes its pause, but here, where it can be said. */
static int s_open_random(void) {
    int probe = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (probe < 0) {
        return aws_translate_and_raise_io_error(errno);
    }
    close(probe);
    uint64_t unused = 0;
    return aws_device_random_u64(&unused);
}

static int s_runtime_fill(struct cml_runtime *runtime, const struct cml_runtime_options *options) {
    if (s_open_random() != AWS_OP_SUCCESS) {
        return AWS_OP_ERR;
    }
    runtime->loops = cml_loops_new(runtime->alloc, (uint16_t)options->threads);
    if (runtime->loops == NULL) {
        return AWS_OP_ERR;
    }
    return cml_resolvers_start(runtime);
}

static void s_runtime_drop_partial(struct cml_runtime *runtime) {
    cml_resolvers_drop(runtime);
    if (runtime->loops != NULL) {
        aws_event_loop_group_release(runtime->loops);
    }
    free(runtime->shards);
    free(runtime);
}

int cml_runtime_start(const struct cml_runtime_options *options) {
    if (cml_runtime != NULL) {
        return 0;
    }
    s_prepare_library();
    s_forget_threads_of_parent();
    uint32_t connections = options->max_connections < 1 ? 1 : options->max_connections;
    uint32_t threads = options->threads < 1 ? 1 : options->threads;
    threads = threads > CML_MAX_SHARDS ? CML_MAX_SHARDS : threads;
    threads = threads > connections ? connections : threads; /* each needs one: they lend each other none */
    struct cml_runtime_options fixed = {.threads = threads, .max_connections = connections};
    struct cml_runtime *runtime = calloc(1, sizeof(*runtime));
    runtime->alloc = aws_default_allocator();
    runtime->shard_count = threads;
    runtime->shards = calloc(threads, sizeof(struct cml_shard));
    pthread_mutex_init(&runtime->endpoints_lock, NULL);
    if (s_runtime_fill(runtime, &fixed) != AWS_OP_SUCCESS) {
        int error = aws_last_error();
        s_runtime_drop_partial(runtime); /* out of descriptors, say: the next use tries again */
        return error;
    }
    for (uint32_t i = 0; i < threads; ++i) {
        s_shard_init(&runtime->shards[i], runtime, i, connections / threads + (i < connections % threads));
    }
    cml_runtime = runtime;
    cml_pool_set_idle_hook(_on_pool_idle);
    return 0;
}

bool cml_runtime_running(void) {
    return cml_runtime != NULL;
}

uint32_t cml_runtime_threads(void) {
    return cml_runtime != NULL ? cml_runtime->shard_count : 0;
}

uint64_t cml_runtime_connections(void) {
    int64_t live = cml_live_get(CML_LIVE_CONNECTIONS);
    return live > 0 ? (uint64_t)live : 0;
}

static void _after_fork_in_child(void) {
    atomic_fetch_add(&s_generation, 1);
    cml_pool_set_idle_hook(NULL);
    atomic_store(&s_trimming, false);
    cml_queue_after_fork_in_child();
    cml_runtime = NULL; /* leaked on purpose: its loops, descriptors and threads are the parent's */
    s_forked = s_library_ready;
    cml_bulk_after_fork_in_child();
    cml_resolvers_after_fork_in_child();
    cml_pool_reset_after_fork();
    cml_live_reset_after_fork();
    cml_log_reset_after_fork();
    cml_disk_reset_after_fork();
}

static void s_watch_forks(void) {
    pthread_atfork(NULL, NULL, _after_fork_in_child);
}

/* Not one of Python's handlers: before those run, the thread states of the parent's other threads are taken apart, and
 * what they had, closed. */
void cml_runtime_watch_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, s_watch_forks);
}

/* ---- inbox ---- */

void cml_shard_post(struct cml_request *request, uint32_t message) {
    uint32_t before = atomic_fetch_or_explicit(&request->messages, message, memory_order_acq_rel);
    if (before != 0) {
        return; /* it is in the inbox already */
    }
    struct cml_shard *shard = request->shard;
    cml_request_acquire(request); /* given back in s_open_mail */
    struct cml_node *old = atomic_load_explicit(&shard->inbox, memory_order_relaxed);
    do {
        request->inbox_node.next = old;
    } while (!atomic_compare_exchange_weak_explicit(
        &shard->inbox, &old, &request->inbox_node, memory_order_acq_rel, memory_order_relaxed));
    if (old == NULL) {
        aws_event_loop_schedule_task_now(shard->loop, &shard->inbox_task);
    }
}

static void s_open_mail(struct cml_request *request) {
    uint32_t messages = atomic_exchange_explicit(&request->messages, 0, memory_order_acq_rel);
    bool closing = atomic_load_explicit(&cml_runtime->closing, memory_order_relaxed);
    if (messages & CML_MSG_SUBMIT && closing) {
        cml_request_note(request, CML_ERR_SHUTDOWN, 0);
        cml_dispatch(request, CML_ON_EXIT);
    } else if (messages & CML_MSG_SUBMIT) {
        cml_dispatch(request, CML_ON_SUBMIT);
    }
    if (messages & CML_MSG_CREDENTIALS && request->state == CML_CREDENTIALS) {
        cml_dispatch(request, CML_ON_CREDENTIALS);
    }
    if (messages & CML_MSG_SLOT && request->state == CML_PACED && !(messages & CML_MSG_CANCEL)) {
        cml_dispatch(request, CML_ON_SLOT);
    }
    if (messages & CML_MSG_FEED) {
        cml_dispatch(request, CML_ON_FEED);
    }
    if (messages & CML_MSG_CANCEL) {
        cml_dispatch(request, CML_ON_CANCEL);
    }
    cml_request_release(request);
}

static void _on_inbox(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task;
    struct cml_shard *shard = arg;
    if (status != AWS_TASK_STATUS_RUN_READY) {
        return; /* the loop is going away with the process */
    }
    struct cml_node *node = atomic_exchange_explicit(&shard->inbox, NULL, memory_order_acq_rel);
    struct cml_node *oldest = NULL;
    while (node != NULL) {
        struct cml_node *next = node->next;
        node->next = oldest;
        oldest = node;
        node = next;
    }
    while (oldest != NULL) {
        struct cml_node *next = oldest->next; /* read first: the request may be posted again at once */
        s_open_mail(CML_CONTAINER_OF(oldest, struct cml_request, inbox_node));
        oldest = next;
    }
}

/* ---- the sweep: every deadline of a shard in one task, run when the earliest may have come ---- */

static uint64_t s_stalled_at(const struct cml_request *request) {
    bool moves = request->state == CML_SENT || request->state == CML_BODY;
    return moves && request->client->stall_ns != 0 ? request->progress_ns + request->client->stall_ns : UINT64_MAX;
}

/* There is progress that the engine does not see: megabytes that the kernel has taken may go out for long, and bytes
 * that have come may wait for others. */
static uint64_t s_probe_at(const struct cml_request *request) {
    bool uploads = request->state == CML_SENT && request->body_length > 0;
    bool waits = request->state == CML_BODY && cml_socket_holds_back(request);
    return (uploads || waits) && request->client->stall_ns != 0 ? request->probed_ns + request->client->stall_ns / 4 : UINT64_MAX;
}

static uint64_t s_request_due(const struct cml_request *request) {
    uint64_t due = request->deadline_ns;
    if (request->state == CML_BACKOFF && request->wake_ns < due) {
        due = request->wake_ns;
    }
    if (request->state == CML_SENT && request->hedge_at_ns != 0 && request->hedge_at_ns < due) {
        due = request->hedge_at_ns;
    }
    uint64_t stalled = s_stalled_at(request), probe = s_probe_at(request);
    due = stalled < due ? stalled : due;
    return probe < due ? probe : due;
}

static void s_probe(struct cml_request *request, uint64_t now) {
    if (s_probe_at(request) <= now) {
        bool sends = request->state == CML_SENT;
        int in_kernel = sends ? cml_transport_unsent(request) : cml_socket_unread(request);
        bool moves = in_kernel != request->in_kernel && (sends || in_kernel > 0);
        request->progress_ns = moves ? now : request->progress_ns;
        request->sent_till_ns = moves && sends ? now : request->sent_till_ns;
        request->in_kernel = in_kernel;
        request->probed_ns = now;
    }
}

static bool s_is_about_to_name(const struct cml_request *request) {
    return request->flags & CML_FLAG_NAMES && !request->overdue && (request->state == CML_SENT || request->state == CML_BODY);
}

static void s_sweep_request(struct cml_request *request, uint64_t now) {
    if (request->state == CML_BACKOFF && now >= request->wake_ns && now < request->deadline_ns) {
        cml_dispatch(request, CML_ON_TIMER);
    } else if (now >= request->deadline_ns && s_is_about_to_name(request)) {
        request->overdue = true;
        request->deadline_ns = now + NAMED_WITHIN_NS;
    } else if (now >= request->deadline_ns) {
        cml_request_note(request, CML_ERR_TOTAL_TIMEOUT, 0);
        cml_dispatch(request, CML_ON_DEADLINE);
    } else {
        s_probe(request, now);
        if (s_stalled_at(request) <= now) {
            cml_request_note(request, CML_ERR_STALL_TIMEOUT, 0);
            cml_dispatch(request, CML_ON_DEADLINE);
        } else if (request->state == CML_SENT && request->hedge_at_ns != 0 && request->hedge_at_ns <= now) {
            cml_hedge_launch(request);
        }
    }
}

static uint64_t s_sweep_requests(struct cml_shard *shard, uint64_t now) {
    uint64_t next = UINT64_MAX;
    for (struct cml_link *link = shard->live.next, *after; link != &shard->live; link = after) {
        after = link->next;
        struct cml_request *request = CML_CONTAINER_OF(link, struct cml_request, live_link);
        if (s_request_due(request) <= now && request->state != CML_ABORTING) {
            bool last = after == &shard->live;
            struct cml_request *hold = last ? NULL : CML_CONTAINER_OF(after, struct cml_request, live_link);
            if (hold != NULL) {
                cml_request_acquire(hold); /* what happens to one may end the next */
            }
            cml_request_acquire(request);
            s_sweep_request(request, now);
            bool alive = !cml_link_empty(&request->live_link);
            uint64_t due = alive && request->state != CML_ABORTING ? s_request_due(request) : UINT64_MAX;
            next = due < next ? due : next;
            cml_request_release(request);
            if (hold != NULL) {
                if (cml_link_empty(&hold->live_link)) {
                    after = &shard->live; /* rare: look again soon instead of walking a changed list */
                    next = now;
                }
                cml_request_release(hold);
            }
            continue;
        }
        uint64_t due = request->state != CML_ABORTING ? s_request_due(request) : UINT64_MAX;
        next = due < next ? due : next;
    }
    return next;
}

static struct aws_task s_trim_task;
static void _on_trim_due(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task;
    if (status == AWS_TASK_STATUS_RUN_READY) {
        cml_shard_sweep_by(arg, cml_now_ns() + TRIM_AFTER_NS);
    }
}

static void _on_pool_idle(void) {
    struct cml_runtime *runtime = cml_runtime;
    if (runtime != NULL && !atomic_load(&runtime->closing) && !atomic_exchange(&s_trimming, true)) {
        aws_task_init(&s_trim_task, _on_trim_due, &runtime->shards[0], "cumulo_trim");
        aws_event_loop_schedule_task_now(runtime->shards[0].loop, &s_trim_task);
    }
}

static void s_trim(uint64_t now, uint64_t *next) {
    cml_pool_trim(TRIM_AFTER_NS);
    if (cml_pool_has_idle()) {
        *next = now + TRIM_AFTER_NS / 5 < *next ? now + TRIM_AFTER_NS / 5 : *next;
        return;
    }
    atomic_store(&s_trimming, false);
    if (cml_pool_has_idle() && !atomic_exchange(&s_trimming, true)) { /* one came in between */
        *next = now + TRIM_AFTER_NS < *next ? now + TRIM_AFTER_NS : *next;
    }
}

static void _on_sweep(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task;
    struct cml_shard *shard = arg;
    shard->sweep_at_ns = UINT64_MAX;
    if (status != AWS_TASK_STATUS_RUN_READY) {
        return; /* cancelled to be scheduled anew, or the loop is going away */
    }
    uint64_t now = cml_now_ns();
    uint64_t next = s_sweep_requests(shard, now);
    for (struct cml_link *link = shard->endpoints.next, *after; link != &shard->endpoints; link = after) {
        after = link->next;
        cml_endpoint_sweep(CML_CONTAINER_OF(link, struct cml_endpoint_shard, link), now, &next);
    }
    cml_shard_pump(shard);
    if (shard->index == 0) {
        s_trim(now, &next);
    }
    if (next != UINT64_MAX) {
        /* Deadlines are kept to ten milliseconds: a burst of them is one sweep. */
        cml_shard_sweep_by(shard, next > now + 10000000ull ? next : now + 10000000ull);
    }
}

void cml_shard_sweep_by(struct cml_shard *shard, uint64_t at_ns) {
    if (at_ns >= shard->sweep_at_ns) {
        return;
    }
    if (shard->sweep_at_ns != UINT64_MAX) {
        aws_event_loop_cancel_task(shard->loop, &shard->sweep_task); /* runs it with CANCELED, at once */
    }
    shard->sweep_at_ns = at_ns;
    aws_event_loop_schedule_task_future(shard->loop, &shard->sweep_task, at_ns);
}

/* ---- exit ---- */

struct s_drain {
    struct aws_task task;
    struct cml_shard *shard;
    atomic_bool done;
};

static void _on_drain(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task;
    struct s_drain *drain = arg;
    struct cml_shard *shard = drain->shard;
    while (status == AWS_TASK_STATUS_RUN_READY && !cml_link_empty(&shard->live)) {
        struct cml_request *request = CML_CONTAINER_OF(shard->live.next, struct cml_request, live_link);
        cml_request_note(request, CML_ERR_SHUTDOWN, 0);
        cml_dispatch(request, CML_ON_EXIT);
    }
    atomic_store(&drain->done, true);
}

static void s_sleep_ms(long ms) {
    struct timespec pause = {.tv_nsec = ms * 1000000};
    nanosleep(&pause, NULL);
}

static bool s_all_done(struct s_drain *drains, uint32_t count) {
    uint32_t done = 0;
    for (uint32_t i = 0; i < count; ++i) {
        done += atomic_load(&drains[i].done) ? 1 : 0;
    }
    return done == count;
}

bool cml_runtime_quiesce(uint32_t timeout_ms) {
    struct cml_runtime *runtime = cml_runtime;
    if (runtime == NULL) {
        return true;
    }
    uint64_t until = cml_now_ns() + (uint64_t)timeout_ms * 1000000ull;
    while (atomic_load(&runtime->cleaning_up) > 0 && cml_now_ns() < until) {
        s_sleep_ms(1);
    }
    atomic_store(&runtime->closing, true);
    struct s_drain *drains = calloc(runtime->shard_count, sizeof(*drains)); /* leaked if a loop does not answer */
    for (uint32_t i = 0; i < runtime->shard_count; ++i) {
        drains[i].shard = &runtime->shards[i];
        aws_task_init(&drains[i].task, _on_drain, &drains[i], "cumulo_drain");
        aws_event_loop_schedule_task_now(drains[i].shard->loop, &drains[i].task);
    }
    bool bulk_done = cml_bulk_quiesce(timeout_ms);
    until = cml_now_ns() + (uint64_t)timeout_ms * 1000000ull;
    bool done = false;
    while (!(done = s_all_done(drains, runtime->shard_count)) && cml_now_ns() < until) {
        s_sleep_ms(1);
    }
    while (done && !cml_disk_is_idle() && cml_now_ns() < until) { /* descriptors are about to be closed */
        s_sleep_ms(1);
    }
    if (done) {
        free(drains);
    }
    return done && bulk_done;
}
