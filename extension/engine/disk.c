#include "disk.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define AHEAD_BYTES ((uint64_t)2 << 20) /* what the kernel takes at a time */
#define THREADS 2 /* more do not make one disk faster; one would let a slow one hold up another */

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t s_work = PTHREAD_COND_INITIALIZER;
static struct cml_disk_job *s_first, **s_last = &s_first; /* under s_lock */
static unsigned s_threads, s_running;                     /* under s_lock */
static int s_written[THREADS] = {-1, -1}; /* likewise: the descriptors that jobs under way write to; -1 for none */

/* Under s_lock. The first job whose file nobody writes to; who writes to it looks for another when that is done. */
static struct cml_disk_job *s_take(int own) {
    for (struct cml_disk_job **at = &s_first, *job; (job = *at) != NULL; at = &job->next) {
        bool busy = false;
        for (int i = 0; i < THREADS; ++i) {
            busy = busy || (job->file >= 0 && s_written[i] == job->file);
        }
        if (!busy) {
            *at = job->next;
            s_last = job->next == NULL ? at : s_last;
            s_written[own] = job->file;
            return job;
        }
    }
    return NULL;
}

static void *s_main(void *number) {
    int own = (int)(intptr_t)number;
    struct cml_disk_job *job;
    pthread_mutex_lock(&s_lock);
    for (;;) {
        while ((job = s_take(own)) == NULL) {
            pthread_cond_wait(&s_work, &s_lock);
        }
        s_running++;
        pthread_mutex_unlock(&s_lock);
        job->run(job); /* it may be gone, or posted again, when this returns */
        pthread_mutex_lock(&s_lock);
        s_running--;
        s_written[own] = -1;
    }
    return NULL;
}

/* Under s_lock. Signals are for the program's own threads: Python's handlers want them there. */
static int s_start_thread(void) {
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, s_main, (void *)(intptr_t)s_threads);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        pthread_detach(thread);
        s_threads++;
    }
    return error;
}

int cml_disk_post(struct cml_disk_job *job) {
    pthread_mutex_lock(&s_lock);
    bool busy = s_running > 0 || s_first != NULL;
    int error = s_threads == 0 || (busy && s_threads < THREADS) ? s_start_thread() : 0;
    error = s_threads > 0 ? 0 : error;
    if (error == 0) {
        job->next = NULL;
        *s_last = job;
        s_last = &job->next;
        pthread_cond_signal(&s_work);
    }
    pthread_mutex_unlock(&s_lock);
    return error;
}

#ifdef POSIX_FADV_WILLNEED
struct s_read_ahead {
    struct cml_disk_job job;
    int fd;
    uint64_t at, end;
};

static void _on_read_ahead(struct cml_disk_job *job) {
    struct s_read_ahead *ahead = CML_CONTAINER_OF(job, struct s_read_ahead, job);
    for (uint64_t at = ahead->at; at < ahead->end; at += AHEAD_BYTES) {
        uint64_t left = ahead->end - at;
        posix_fadvise(ahead->fd, (off_t)at, (off_t)(left < AHEAD_BYTES ? left : AHEAD_BYTES), POSIX_FADV_WILLNEED);
    }
    free(ahead);
}

void cml_disk_read_ahead(int fd, uint64_t offset, uint64_t length) {
    struct s_read_ahead *ahead = malloc(sizeof(*ahead));
    if (ahead == NULL) {
        return;
    }
    *ahead = (struct s_read_ahead){.job.file = -1, .job.run = _on_read_ahead, .fd = fd, .at = offset, .end = offset + length};
    if (cml_disk_post(&ahead->job) != 0) {
        free(ahead);
    }
}
#else
void cml_disk_read_ahead(int fd, uint64_t offset, uint64_t length) {
    (void)fd, (void)offset, (void)length;
}
#endif

#ifdef __linux__
void cml_disk_reserve(int fd, uint64_t offset, uint64_t length) {
    (void)!fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length); /* what has no room says so when written */
}
#else
void cml_disk_reserve(int fd, uint64_t offset, uint64_t length) {
    (void)fd, (void)offset, (void)length;
}
#endif

bool cml_disk_is_idle(void) {
    pthread_mutex_lock(&s_lock);
    bool idle = s_first == NULL && s_running == 0;
    pthread_mutex_unlock(&s_lock);
    return idle;
}

void cml_disk_reset_after_fork(void) {
    pthread_mutex_init(&s_lock, NULL); /* a thread that does not exist here may have held it */
    pthread_cond_init(&s_work, NULL);
    s_first = NULL; /* the jobs are the parent's */
    s_last = &s_first;
    s_threads = s_running = 0;
    s_written[0] = s_written[1] = -1;
}
