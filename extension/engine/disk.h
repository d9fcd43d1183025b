/* The disk's threads: what may wait for a disk runs here, so that no event loop ever does.
 *
 * A few native threads for the process, started when first used, that run jobs in the order in which they were posted.
 * Signals are blocked in them. They live as long as the process; a forked child starts its own.
 */
#ifndef CML_DISK_H
#define CML_DISK_H

#include "cml.h"

struct cml_disk_job {
    struct cml_disk_job *next;
    int file; /* the descriptor that it writes to, by one thread at a time: two would spin for its lock; or -1 */
    void (*run)(struct cml_disk_job *job); /* may post the job again */
};

/* Any thread, locks held or not. The job must not be waiting already. 0, or an errno when no thread can be had. */
int cml_disk_post(struct cml_disk_job *job);
/* Lets the kernel fetch what is about to be read: advice, which does no harm when the descriptor is closed before. */
void cml_disk_read_ahead(int fd, uint64_t offset, uint64_t length);
/* Lets the file system find room for what is about to be written, in one piece: advice, too. On a disk's thread. */
void cml_disk_reserve(int fd, uint64_t offset, uint64_t length);
bool cml_disk_is_idle(void);
void cml_disk_reset_after_fork(void);

#endif
