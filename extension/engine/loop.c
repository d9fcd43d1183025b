/* The event loop: aws-c-io's interface over epoll, for fewer system calls and wakes a request than its own loop makes.
 *
 * A turn: wait for events, hand them out, take the tasks that other threads have posted, run what is due. What is spared:
 * - The wake (an eventfd) is edge-triggered and never read, and written only when the loop sleeps.
 * - The timer is set when something is due before it would fire, and otherwise left to fire for nothing now and then.
 *   It counts time spent in suspend, which epoll's own timeout does not.
 *
 * Tasks that tasks schedule run in the next turn, after another look at the descriptors: an upload that writes on and on
 * has to see a refusal before the reset that follows it. That look also makes larger batches.
 *
 * Law: `asleep` is set before the posted tasks are looked at for the last time, and a poster looks at it after its task
 * is on the list. So either the loop sees the task or the poster sees the sleeper.
 *
 * Who turns it is seat.c's matter: whoever has the seat owns all that is not marked otherwise (loop_internal.h). Elsewhere
 * than on Linux aws-c-io's own loops serve.
 */
#include "loop.h"

#ifndef __linux__

struct aws_event_loop_group *cml_loops_new(struct aws_allocator *alloc, uint16_t count) {
    struct aws_event_loop_group_options options = {.loop_count = count};
    return aws_event_loop_group_new(alloc, &options);
}

void cml_loop_set_busy(struct aws_event_loop *base, atomic_uint *busy) {
    (void)base, (void)busy;
}

bool cml_loop_lead(struct aws_event_loop *base) {
    (void)base;
    return false;
}

bool cml_loop_turn(struct aws_event_loop *base, int most_ms) {
    (void)base, (void)most_ms;
    return false;
}

void cml_loop_leave(struct aws_event_loop *base) {
    (void)base;
}

#else

#    include "cml.h"
#    include "loop_internal.h"

#    include <aws/common/clock.h>
#    include <aws/io/io.h>
#    include <errno.h>
#    include <sys/epoll.h>
#    include <sys/eventfd.h>
#    include <sys/timerfd.h>
#    include <time.h>
#    include <unistd.h>

/* Declared in private headers of aws-c-io and aws-c-common. */
enum { IO_READABLE = 1, IO_WRITABLE = 2, IO_REMOTE_HANG_UP = 4, IO_CLOSED = 8, IO_ERROR = 16 };
typedef struct aws_event_loop *(s_new_loop_fn)(struct aws_allocator *, const struct aws_event_loop_options *, void *);
struct aws_event_loop_group *aws_event_loop_group_new_internal(
    struct aws_allocator *alloc, const struct aws_event_loop_group_options *options, s_new_loop_fn *new_loop, void *data);
void aws_thread_increment_unjoined_count(void);
void aws_thread_decrement_unjoined_count(void);

#    define MOST_EVENTS 100
#    define NEVER UINT64_MAX

/* What epoll gives back for a descriptor. Freed by a task, after the events of the turn in which it was dropped. */
struct s_subscription {
    struct aws_allocator *alloc;
    struct aws_io_handle *handle;
    aws_event_loop_on_event_fn *on_event;
    void *user_data;
    struct aws_task free_task;
    bool dropped;
};

/* ---- tasks ---- */

static bool s_is_mine(struct aws_event_loop *base) {
    return atomic_load_explicit(&cml_loop_of(base)->owner, memory_order_relaxed) == (unsigned long)pthread_self();
}

static void s_wake(struct cml_loop *loop) {
    uint64_t one = 1;
    ssize_t ignored = write(loop->wake_fd, &one, sizeof(one));
    (void)ignored;
}

static void s_post(struct cml_loop *loop, struct aws_task *task, uint64_t at_ns) {
    task->timestamp = at_ns;
    pthread_mutex_lock(&loop->mutex);
    aws_linked_list_push_back(&loop->posted, &task->node);
    if (cml_loop_seat(loop) == CML_SEAT_FREE) {
        cml_seat_call(loop);
    }
    pthread_mutex_unlock(&loop->mutex);
    if (atomic_load(&loop->asleep) && atomic_exchange(&loop->asleep, false)) {
        s_wake(loop);
    }
}

static void s_schedule_here(struct cml_loop *loop, struct aws_task *task, uint64_t at_ns) {
    if (at_ns == 0) {
        aws_task_scheduler_schedule_now(&loop->scheduler, task);
    } else {
        aws_task_scheduler_schedule_future(&loop->scheduler, task, at_ns);
    }
}

static void s_schedule_future(struct aws_event_loop *base, struct aws_task *task, uint64_t at_ns) {
    if (s_is_mine(base)) {
        s_schedule_here(cml_loop_of(base), task, at_ns);
    } else {
        s_post(cml_loop_of(base), task, at_ns);
    }
}

static void s_schedule_now(struct aws_event_loop *base, struct aws_task *task) {
    s_schedule_future(base, task, 0);
}

static void s_schedule_serialized(struct aws_event_loop *base, struct aws_task *task) {
    s_post(cml_loop_of(base), task, 0);
}

static void s_cancel(struct aws_event_loop *base, struct aws_task *task) {
    aws_task_scheduler_cancel_task(&cml_loop_of(base)->scheduler, task);
}

static void s_take_posted(struct cml_loop *loop) {
    struct aws_linked_list taken;
    aws_linked_list_init(&taken);
    pthread_mutex_lock(&loop->mutex);
    aws_linked_list_swap_contents(&loop->posted, &taken);
    pthread_mutex_unlock(&loop->mutex);
    while (!aws_linked_list_empty(&taken)) {
        struct aws_task *task = AWS_CONTAINER_OF(aws_linked_list_pop_front(&taken), struct aws_task, node);
        s_schedule_here(loop, task, task->timestamp);
    }
}

static bool s_has_posted(struct cml_loop *loop) {
    pthread_mutex_lock(&loop->mutex);
    bool has = !aws_linked_list_empty(&loop->posted);
    pthread_mutex_unlock(&loop->mutex);
    return has;
}

/* ---- descriptors ---- */

static int s_subscribe(struct aws_event_loop *base, struct aws_io_handle *handle, int events,
                       aws_event_loop_on_event_fn *on_event, void *user_data) {
    struct cml_loop *loop = cml_loop_of(base);
    struct s_subscription *made = aws_mem_calloc(loop->alloc, 1, sizeof(*made));
    *made = (struct s_subscription){
        .alloc = loop->alloc, .handle = handle, .on_event = on_event, .user_data = user_data};
    struct epoll_event wanted = {.data.ptr = made, .events = EPOLLET | EPOLLHUP | EPOLLRDHUP | EPOLLERR};
    wanted.events |= events & IO_READABLE ? EPOLLIN : 0;
    wanted.events |= events & IO_WRITABLE ? EPOLLOUT : 0;
    handle->additional_data = made; /* first: an event may come before epoll_ctl returns */
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, handle->data.fd, &wanted) != 0) {
        handle->additional_data = NULL;
        aws_mem_release(loop->alloc, made);
        return aws_raise_error(AWS_ERROR_SYS_CALL_FAILURE);
    }
    return AWS_OP_SUCCESS;
}

static void s_free_subscription(void *data) {
    struct s_subscription *dropped = data;
    aws_mem_release(dropped->alloc, dropped);
}

static void _on_free(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task, (void)status;
    s_free_subscription(arg);
}

static int s_unsubscribe(struct aws_event_loop *base, struct aws_io_handle *handle) {
    struct s_subscription *dropped = handle->additional_data;
    struct epoll_event ignored = {0};
    if (epoll_ctl(cml_loop_of(base)->epoll_fd, EPOLL_CTL_DEL, handle->data.fd, &ignored) != 0) {
        return aws_raise_error(AWS_ERROR_SYS_CALL_FAILURE);
    }
    dropped->dropped = true;
    handle->additional_data = NULL;
    aws_task_init(&dropped->free_task, _on_free, dropped, "cumulo_unsubscribe");
    s_schedule_now(base, &dropped->free_task);
    return AWS_OP_SUCCESS;
}

static int s_event_mask(uint32_t events) {
    return (events & EPOLLIN ? IO_READABLE : 0) | (events & EPOLLOUT ? IO_WRITABLE : 0) |
           (events & EPOLLRDHUP ? IO_REMOTE_HANG_UP : 0) | (events & EPOLLHUP ? IO_CLOSED : 0) |
           (events & EPOLLERR ? IO_ERROR : 0);
}

static void s_hand_out(struct cml_loop *loop, const struct epoll_event *events, int count) {
    for (int i = 0; i < count; ++i) {
        if (events[i].data.ptr == &loop->timer_fd) {
            loop->armed_ns = NEVER;
            continue;
        }
        struct s_subscription *to = events[i].data.ptr;
        if (to != NULL && !to->dropped) { /* NULL: the wake */
            to->on_event(loop->base, to->handle, s_event_mask(events[i].events), to->user_data);
        }
    }
}

/* ---- turning, in the seat ---- */

static void s_arm(struct cml_loop *loop, uint64_t at_ns) {
    if (at_ns >= loop->armed_ns) {
        return;
    }
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_ns / 1000000000ull), .tv_nsec = (long)(at_ns % 1000000000ull)}};
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    loop->armed_ns = at_ns;
}

bool cml_loop_has_work(struct cml_loop *loop, uint64_t *next_ns) {
    *next_ns = NEVER;
    return aws_task_scheduler_has_tasks(&loop->scheduler, next_ns) && *next_ns == 0;
}

/* Events, if there are any; sleeps until there are, or for most_ms, when nothing else is to be done. */
static int s_wait(struct cml_loop *loop, struct epoll_event *events, int most_ms) {
    uint64_t next_ns;
    if (cml_loop_has_work(loop, &next_ns)) {
        return epoll_wait(loop->epoll_fd, events, MOST_EVENTS, 0);
    }
    s_arm(loop, next_ns);
    atomic_store(&loop->asleep, true);
    int count = epoll_wait(loop->epoll_fd, events, MOST_EVENTS, s_has_posted(loop) ? 0 : most_ms);
    atomic_store(&loop->asleep, false);
    return count;
}

bool cml_loop_turn(struct aws_event_loop *base, int most_ms) {
    struct cml_loop *loop = cml_loop_of(base);
    struct epoll_event events[MOST_EVENTS];
    int count = s_wait(loop, events, most_ms);
    s_hand_out(loop, events, count);
    s_take_posted(loop);
    aws_task_scheduler_run_all(&loop->scheduler, cml_now_ns());
    return count >= 0;
}

/* ---- life ---- */

static int s_run(struct aws_event_loop *base) {
    struct cml_loop *loop = cml_loop_of(base);
    struct aws_thread_options options = *aws_default_thread_options();
    options.name = aws_byte_cursor_from_c_str("cumulo-loop");
    loop->running = true;
    aws_thread_increment_unjoined_count();
    if (aws_thread_launch(&loop->thread, cml_loop_main, loop, &options) != AWS_OP_SUCCESS) {
        aws_thread_decrement_unjoined_count();
        loop->running = false;
        return AWS_OP_ERR;
    }
    return AWS_OP_SUCCESS;
}

static void _on_stop(struct aws_task *task, void *arg, enum aws_task_status status) {
    (void)task;
    struct cml_loop *loop = arg;
    atomic_store(&loop->stopping, false);
    if (status == AWS_TASK_STATUS_RUN_READY) {
        loop->running = false;
    }
}

static int s_stop(struct aws_event_loop *base) {
    struct cml_loop *loop = cml_loop_of(base);
    if (!atomic_exchange(&loop->stopping, true)) {
        aws_task_init(&loop->stop_task, _on_stop, loop, "cumulo_stop");
        s_schedule_now(base, &loop->stop_task);
    }
    return AWS_OP_SUCCESS;
}

static int s_join(struct aws_event_loop *base) {
    struct cml_loop *loop = cml_loop_of(base);
    if (aws_thread_get_detach_state(&loop->thread) == AWS_THREAD_NOT_CREATED) {
        return AWS_OP_SUCCESS;
    }
    int result = aws_thread_join(&loop->thread);
    aws_thread_decrement_unjoined_count();
    return result;
}

static void s_free(struct cml_loop *loop) {
    int fds[] = {loop->wake_fd, loop->timer_fd, loop->epoll_fd};
    for (int i = 0; i < 3; ++i) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    aws_thread_clean_up(&loop->thread);
    pthread_cond_destroy(&loop->call);
    pthread_mutex_destroy(&loop->mutex);
    aws_mem_release(loop->alloc, loop);
}

static void s_start_destroy(struct aws_event_loop *base) {
    (void)base;
}

static void s_complete_destroy(struct aws_event_loop *base) {
    struct cml_loop *loop = cml_loop_of(base);
    s_stop(base);
    s_join(base);
    cml_seat_take(loop, CML_SEAT_THREAD); /* cancelled tasks ask whose turn it is, and may schedule others */
    aws_task_scheduler_clean_up(&loop->scheduler);
    while (!aws_linked_list_empty(&loop->posted)) {
        struct aws_task *task = AWS_CONTAINER_OF(aws_linked_list_pop_front(&loop->posted), struct aws_task, node);
        task->fn(task, task->arg, AWS_TASK_STATUS_CANCELED);
    }
    struct aws_allocator *alloc = loop->alloc;
    s_free(loop);
    aws_event_loop_clean_up_base(base);
    aws_mem_release(alloc, base);
}

static int s_no_completion_port(struct aws_event_loop *base, struct aws_io_handle *handle) {
    (void)base, (void)handle;
    return aws_raise_error(AWS_ERROR_PLATFORM_NOT_SUPPORTED);
}

static struct aws_event_loop_vtable s_vtable = {
    .start_destroy = s_start_destroy,
    .complete_destroy = s_complete_destroy,
    .run = s_run,
    .stop = s_stop,
    .wait_for_stop_completion = s_join,
    .schedule_task_now = s_schedule_now,
    .schedule_task_now_serialized = s_schedule_serialized,
    .schedule_task_future = s_schedule_future,
    .cancel_task = s_cancel,
    .connect_to_io_completion_port = s_no_completion_port,
    .subscribe_to_io_events = s_subscribe,
    .unsubscribe_from_io_events = s_unsubscribe,
    .free_io_event_resources = s_free_subscription,
    .is_on_callers_thread = s_is_mine,
};

static bool s_watch(struct cml_loop *loop, int fd, void *mark) {
    struct epoll_event wanted = {.data.ptr = mark, .events = EPOLLIN | EPOLLET};
    return fd >= 0 && epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &wanted) == 0;
}

static bool s_open(struct cml_loop *loop) {
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC); /* cml_now_ns's clock */
    return loop->epoll_fd >= 0 && s_watch(loop, loop->wake_fd, NULL) && s_watch(loop, loop->timer_fd, &loop->timer_fd);
}

static void s_init_locks(struct cml_loop *loop) {
    pthread_mutex_init(&loop->mutex, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&loop->call, &clock);
    pthread_condattr_destroy(&clock);
}

static struct aws_event_loop *s_new(struct aws_allocator *alloc, const struct aws_event_loop_options *options, void *data) {
    (void)options, (void)data;
    struct cml_loop *loop = aws_mem_calloc(alloc, 1, sizeof(*loop));
    loop->alloc = alloc;
    loop->armed_ns = NEVER;
    s_init_locks(loop);
    aws_linked_list_init(&loop->posted);
    aws_thread_init(&loop->thread, alloc);
    if (!s_open(loop)) {
        int error = errno == EMFILE || errno == ENFILE ? AWS_ERROR_MAX_FDS_EXCEEDED : AWS_ERROR_SYS_CALL_FAILURE;
        s_free(loop);
        aws_raise_error(error);
        return NULL;
    }
    atomic_store(&loop->seat, CML_SEAT_THREAD); /* before the thread is there: nothing posted needs a call */
    aws_task_scheduler_init(&loop->scheduler, alloc);
    loop->base = aws_event_loop_new_base(alloc, aws_high_res_clock_get_ticks, &s_vtable, loop);
    return loop->base;
}

struct aws_event_loop_group *cml_loops_new(struct aws_allocator *alloc, uint16_t count) {
    struct aws_event_loop_group_options options = {.loop_count = count};
    return aws_event_loop_group_new_internal(alloc, &options, s_new, NULL);
}

#endif
