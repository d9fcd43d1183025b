/* The inside of our own event loop, for the two files that it is made of: loop.c, and seat.c, which says who turns it. */
#ifndef CML_LOOP_INTERNAL_H
#define CML_LOOP_INTERNAL_H

#include "loop.h"

#include <aws/common/task_scheduler.h>
#include <aws/common/thread.h>
#include <pthread.h>

enum cml_seat { CML_SEAT_FREE, CML_SEAT_THREAD, CML_SEAT_GUEST };

struct cml_loop {
    struct aws_event_loop *base;
    struct aws_allocator *alloc;
    int wake_fd, timer_fd, epoll_fd;
    atomic_uint *busy; /* requests under way */
    /* any thread */
    pthread_mutex_t mutex;
    struct aws_linked_list posted; /* under mutex */
    atomic_bool asleep;
    atomic_ulong owner; /* the pthread_t of who has the seat, or 0; changes under mutex, like `seat` */
    atomic_int seat;
    pthread_cond_t call; /* the thread waits for it while it rests */
    bool called;         /* under mutex: the thread is to take the seat as soon as it is free */
    uint64_t guests;     /* under mutex: how many there have been */
    atomic_bool wanted;  /* a guest found the seat taken */
    atomic_bool stopping;
    struct aws_task stop_task;
    /* the seat's */
    struct aws_task_scheduler scheduler;
    uint64_t armed_ns; /* when the timer fires; UINT64_MAX when it does not */
    bool running;
    /* the loop's thread */
    struct aws_thread thread;
    uint32_t quiet; /* requests after which there was nothing else under way */
};

static inline struct cml_loop *cml_loop_of(struct aws_event_loop *base) {
    return aws_event_loop_get_impl(base);
}

/* loop.c, in the seat: whether a task can run now, else when the next can; UINT64_MAX for never. */
bool cml_loop_has_work(struct cml_loop *loop, uint64_t *next_ns);

/* seat.c */
static inline enum cml_seat cml_loop_seat(const struct cml_loop *loop) {
    return (enum cml_seat)atomic_load_explicit(&loop->seat, memory_order_relaxed);
}
void cml_loop_main(void *loop); /* what the loop's thread does */
void cml_seat_take(struct cml_loop *loop, enum cml_seat seat);
void cml_seat_call(struct cml_loop *loop); /* under mutex: the thread comes back */

#endif
