/* The completion queue: how the engine's threads tell a waiting thread or event loop that something happened.
 *
 * Owns a lock-free stack of nodes and one way to wake its reader: a descriptor for event loops (eventfd, or a pipe),
 * a condition variable for threads. Any thread pushes; one reader drains. The reader is woken only when a push found
 * the queue empty, so a burst of completions costs one wake.
 *
 * Law: the reader consumes the wake before it takes the nodes. A push that comes later finds the queue empty and
 * wakes it again, so no node is ever left behind.
 *
 * A queue that goes away drops what is still on it: it has no reader any more who could.
 */
#ifndef CML_QUEUE_H
#define CML_QUEUE_H

#include "cml.h"

struct cml_node {
    struct cml_node *next;
    void (*drop)(struct cml_node *node); /* for one that nobody takes any more; NULL: nothing to do */
};

struct cml_queue;

struct cml_queue *cml_queue_new_fd(void);   /* NULL when no descriptor is to be had; errno says why */
struct cml_queue *cml_queue_new_cond(void); /* for a thread that waits in cml_queue_wait */
void cml_queue_acquire(struct cml_queue *queue);
void cml_queue_release(struct cml_queue *queue);

int cml_queue_fd(const struct cml_queue *queue); /* becomes readable on a wake; -1 for a condition queue */

void cml_queue_push(struct cml_queue *queue, struct cml_node *node);
bool cml_queue_has_news(const struct cml_queue *queue);
struct cml_node *cml_queue_take_all(struct cml_queue *queue); /* oldest first, linked by next */

/* Waits until the queue is not empty, it is poked, or timeout_ms passed. True if there is something to take. */
bool cml_queue_wait(struct cml_queue *queue, int timeout_ms);
/* The same for threads that on waking all want one lock, such as an interpreter's: they are woken one after another. Once
 * this thread has the lock, or goes on without, it says cml_queue_awake, and the next one is woken. Whoever is late with
 * that holds the others up for no longer than their timeout. */
bool cml_queue_wait_in_turn(struct cml_queue *queue, int timeout_ms);
void cml_queue_awake(struct cml_queue *queue);
void cml_queue_after_fork_in_child(void); /* before the child uses any queue */
void cml_queue_poke(struct cml_queue *queue); /* wakes the reader without a node */

#endif
