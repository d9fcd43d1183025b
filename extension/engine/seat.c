/* The seat of an event loop: who turns it.
 *
 * That is the loop's own thread, or a guest, a thread that waits for the one request under way and so needs nobody to
 * wake. The thread leaves its seat free when one request at a time was all there was for some turns and a guest has
 * asked; it comes back when a guest leaves work behind, when something is posted while nobody turns, or when no guest
 * has come for REST_MS. Nothing is under way while the seat is free, so all that waits is what idle connections have to
 * say, and timers.
 */
#include "loop_internal.h"

#ifdef __linux__

#    include <aws/cal/cal.h>
#    include <time.h>

#    define QUIET_TURNS 8
#    define REST_MS 20

void cml_seat_take(struct cml_loop *loop, enum cml_seat seat) {
    atomic_store_explicit(&loop->seat, seat, memory_order_relaxed);
    atomic_store_explicit(&loop->owner, (unsigned long)pthread_self(), memory_order_relaxed);
}

static void s_stand_up(struct cml_loop *loop) {
    atomic_store_explicit(&loop->owner, 0ul, memory_order_relaxed);
    atomic_store_explicit(&loop->seat, CML_SEAT_FREE, memory_order_relaxed);
}

/* Under mutex. */
void cml_seat_call(struct cml_loop *loop) {
    loop->called = true;
    pthread_cond_signal(&loop->call);
}

static uint32_t s_busy(const struct cml_loop *loop) {
    return loop->busy != NULL ? atomic_load_explicit(loop->busy, memory_order_relaxed) : UINT32_MAX;
}

/* ---- guests ---- */

void cml_loop_set_busy(struct aws_event_loop *base, atomic_uint *busy) {
    struct cml_loop *loop = cml_loop_of(base);
    pthread_mutex_lock(&loop->mutex); /* its thread sees it with the first task that is posted */
    loop->busy = busy;
    pthread_mutex_unlock(&loop->mutex);
}

bool cml_loop_lead(struct aws_event_loop *base) {
    struct cml_loop *loop = cml_loop_of(base);
    if (cml_loop_seat(loop) != CML_SEAT_FREE) {
        atomic_store_explicit(&loop->wanted, true, memory_order_relaxed);
        return false;
    }
    pthread_mutex_lock(&loop->mutex);
    bool leads = cml_loop_seat(loop) == CML_SEAT_FREE && !loop->called;
    if (leads) {
        cml_seat_take(loop, CML_SEAT_GUEST);
        loop->guests++;
    }
    pthread_mutex_unlock(&loop->mutex);
    return leads;
}

void cml_loop_leave(struct aws_event_loop *base) {
    struct cml_loop *loop = cml_loop_of(base);
    uint64_t next_ns;
    bool work = cml_loop_has_work(loop, &next_ns) || s_busy(loop) > 0;
    pthread_mutex_lock(&loop->mutex);
    s_stand_up(loop);
    if (work || !aws_linked_list_empty(&loop->posted)) {
        cml_seat_call(loop);
    }
    pthread_mutex_unlock(&loop->mutex);
}

/* ---- the thread ---- */

static bool s_may_rest(struct cml_loop *loop) {
    uint32_t busy = s_busy(loop);
    if (busy > 1 || !atomic_load_explicit(&loop->wanted, memory_order_relaxed)) {
        loop->quiet = 0;
        return false;
    }
    uint64_t next_ns;
    loop->quiet += busy == 0;
    return busy == 0 && loop->quiet >= QUIET_TURNS && !cml_loop_has_work(loop, &next_ns);
}

static void s_wait_for_call(struct cml_loop *loop) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += REST_MS * 1000000l;
    until.tv_sec += until.tv_nsec / 1000000000l;
    until.tv_nsec %= 1000000000l;
    pthread_cond_timedwait(&loop->call, &loop->mutex, &until);
}

static void s_rest(struct cml_loop *loop) {
    pthread_mutex_lock(&loop->mutex);
    bool guests = aws_linked_list_empty(&loop->posted);
    if (guests) {
        s_stand_up(loop);
    }
    while (cml_loop_seat(loop) == CML_SEAT_GUEST || (guests && !loop->called)) {
        uint64_t before = loop->guests;
        s_wait_for_call(loop);
        guests = loop->guests != before;
    }
    loop->called = false;
    cml_seat_take(loop, CML_SEAT_THREAD);
    pthread_mutex_unlock(&loop->mutex);
    atomic_store_explicit(&loop->wanted, false, memory_order_relaxed);
    loop->quiet = 0;
}

static void _on_thread_exit(void *data) {
    (void)data;
    aws_cal_thread_clean_up();
}

void cml_loop_main(void *arg) {
    struct cml_loop *loop = arg;
    aws_thread_current_at_exit(_on_thread_exit, NULL);
    cml_seat_take(loop, CML_SEAT_THREAD);
    while (loop->running) {
        cml_loop_turn(loop->base, -1);
        if (s_may_rest(loop)) {
            s_rest(loop);
        }
    }
    atomic_store(&loop->owner, 0ul);
}

#endif
