/* How a job is stopped: aws-c-s3 is told, and what it has begun comes to an end.
 *
 * Any thread, but none of a loop's for what waits. Always true: an upload that the server is about to create is not cut
 * short, for a moment, since only the answer says what there is to take back; and when a cancel has returned, no byte of
 * foreign memory or of a file is written any more.
 */
#include "bulk.h"

#include <time.h>

#define BARRIER_HOPS 3 /* a cancel reaches a connection by two tasks: aws-c-http's, and its channel's */
#define PATIENCE_NS 2000000000ull /* with a server that has not said which upload it has created */

struct s_barrier {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint32_t left; /* under lock: loops that have not answered */
};

struct s_hop {
    struct aws_task task;
    struct aws_event_loop *loop;
    struct s_barrier *barrier;
    int hops;
};

static void _on_hop(struct aws_task *task, void *arg, enum aws_task_status status) {
    struct s_hop *hop = arg;
    if (status == AWS_TASK_STATUS_RUN_READY && --hop->hops > 0) {
        aws_event_loop_schedule_task_now(hop->loop, task);
        return;
    }
    struct s_barrier *barrier = hop->barrier;
    pthread_mutex_lock(&barrier->lock);
    barrier->left--;
    pthread_cond_signal(&barrier->cond);
    pthread_mutex_unlock(&barrier->lock);
}

/* Until each loop has done what was asked of it before: then no connection of a cancelled job hands out bytes. */
static void s_wait_for_loops(void) {
    struct cml_runtime *runtime = cml_runtime;
    struct s_barrier barrier = {.left = runtime->shard_count};
    struct s_hop hops[CML_MAX_SHARDS];
    pthread_mutex_init(&barrier.lock, NULL);
    pthread_cond_init(&barrier.cond, NULL);
    for (uint32_t i = 0; i < runtime->shard_count; ++i) {
        hops[i] = (struct s_hop){.loop = runtime->shards[i].loop, .barrier = &barrier, .hops = BARRIER_HOPS};
        aws_task_init(&hops[i].task, _on_hop, &hops[i], "cumulo_bulk_barrier");
        aws_event_loop_schedule_task_now(hops[i].loop, &hops[i].task);
    }
    pthread_mutex_lock(&barrier.lock);
    while (barrier.left > 0) {
        pthread_cond_wait(&barrier.cond, &barrier.lock);
    }
    pthread_mutex_unlock(&barrier.lock);
    pthread_cond_destroy(&barrier.cond);
    pthread_mutex_destroy(&barrier.lock);
}

void cml_bulk_pause(void) {
    struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
}

/* ---- an upload that is being created ---- */

static bool s_cancel(struct cml_request *request) {
    struct aws_s3_meta_request *meta = cml_bulk_meta(request);
    if (meta != NULL) {
        aws_s3_meta_request_cancel(meta);
        aws_s3_meta_request_release(meta);
    }
    return meta != NULL;
}

void cml_bulk_created(struct cml_request *request) {
    struct cml_bulk *bulk = request->bulk;
    cml_request_lock(request);
    bool cancel = bulk->creating && bulk->stopped;
    bulk->creating = false;
    pthread_mutex_unlock(&request->lock);
    if (cancel) {
        s_cancel(request);
    }
}

static void _on_patience(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task, (void)status;
    cml_bulk_created(arg);
    cml_request_release(arg); /* twin: s_be_patient */
}

static void s_be_patient(struct cml_request *request) {
    cml_request_acquire(request);
    aws_task_init(&request->bulk->patience_task, _on_patience, request, "cumulo_bulk_patience");
    aws_event_loop_schedule_task_future(cml_runtime->shards[0].loop, &request->bulk->patience_task,
                                        cml_now_ns() + PATIENCE_NS);
}

/* ---- stopping ---- */

bool cml_bulk_stop_meta(struct cml_request *request) {
    struct cml_bulk *bulk = request->bulk;
    cml_request_lock(request);
    bool creating = bulk->creating && bulk->meta != NULL;
    bool begins = creating && !bulk->patient;
    bulk->patient = bulk->patient || creating;
    pthread_mutex_unlock(&request->lock);
    if (begins) {
        s_be_patient(request);
    }
    return creating || s_cancel(request);
}

bool cml_bulk_stop(struct cml_request *request, int why) {
    struct cml_bulk *bulk = request->bulk;
    cml_request_lock(request);
    bulk->why_stopped = bulk->stopped ? bulk->why_stopped : why;
    bulk->stopped = true;
    while (bulk->starting || bulk->writing) { /* another try, for microseconds; a write, for as long as its disk takes */
        pthread_mutex_unlock(&request->lock);
        cml_bulk_pause();
        cml_request_lock(request);
    }
    pthread_mutex_unlock(&request->lock);
    return cml_bulk_stop_meta(request);
}

void cml_bulk_cancel(struct cml_request *request) {
    if (cml_bulk_stop(request, CML_ERR_CANCELLED) && request->bulk->options.foreign_memory) {
        s_wait_for_loops();
    }
}
