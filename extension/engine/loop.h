/* Event loops: the group of them that a runtime runs on. See loop.c, and seat.c for guests. */
#ifndef CML_LOOP_H
#define CML_LOOP_H

#include <aws/io/event_loop.h>
#include <stdatomic.h>
#include <stdbool.h>

/* NULL on failure; aws_last_error says why. */
struct aws_event_loop_group *cml_loops_new(struct aws_allocator *alloc, uint16_t count);

/* Where the number of requests under way on a loop stands. Before the first of them. */
void cml_loop_set_busy(struct aws_event_loop *loop, atomic_uint *busy);

/* A thread that is about to wait may turn the loop itself, if its seat is free: then no thread has to wake another. Lead,
 * submit, turn until there is news, leave; nothing that may block in between. */
bool cml_loop_lead(struct aws_event_loop *loop);
bool cml_loop_turn(struct aws_event_loop *loop, int most_ms); /* false when a signal has come */
void cml_loop_leave(struct aws_event_loop *loop);

#endif
