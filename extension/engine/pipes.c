#include "pipes.h"

#ifdef __linux__

#    include <errno.h>
#    include <fcntl.h>
#    include <pthread.h>
#    include <stdlib.h>
#    include <sys/mman.h>
#    include <sys/resource.h>
#    include <unistd.h>

#    define COPY_BYTES ((size_t)64 << 10) /* at a time, to a file that takes nothing from a pipe */

struct cml_pipe {
    int read, write;
    bool copies; /* the file takes nothing from a pipe */
    struct cml_pipe *previous, *next;
};

/* ---- all there are: held while one is made or closed, and while the process forks ---- */

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cml_pipe *s_all;
static int s_count; /* in a forked child with those of its parent's requests, until it lets go of them */

static void _before_fork(void) {
    pthread_mutex_lock(&s_lock);
}

static void _after_fork_in_parent(void) {
    pthread_mutex_unlock(&s_lock);
}

static void s_close(struct cml_pipe *pipe) {
    if (pipe->read >= 0) {
        close(pipe->read);
        close(pipe->write);
        pipe->read = pipe->write = -1;
    }
}

/* What is in a pipe is the parent's to write: an end that stayed open here would keep it in memory when that is done. */
static void _after_fork_in_child(void) {
    for (struct cml_pipe *pipe = s_all; pipe != NULL; pipe = pipe->next) {
        s_close(pipe);
    }
    pthread_mutex_unlock(&s_lock);
}

static void s_link(struct cml_pipe *pipe) {
    pipe->next = s_all;
    if (s_all != NULL) {
        s_all->previous = pipe;
    }
    s_all = pipe;
    s_count++;
}

static void s_unlink(struct cml_pipe *pipe) {
    *(pipe->previous != NULL ? &pipe->previous->next : &s_all) = pipe->next;
    if (pipe->next != NULL) {
        pipe->next->previous = pipe->previous;
    }
    s_count--;
}

/* ---- one ---- */

/* Others can't do without: connections, and the program's own files. */
static bool s_is_scarce(int descriptor) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) != 0 || (rlim_t)descriptor >= limit.rlim_cur / 2;
}

/* Refused beyond a limit for all of a user's pipes. A smaller one costs more system calls than it spares copies. */
static bool s_enlarge(int end) {
    return fcntl(end, F_SETPIPE_SZ, (int)CML_PIPE_BYTES) >= (int)CML_PIPE_BYTES;
}

/* Under s_lock. */
static bool s_open(struct cml_pipe *pipe) {
    int ends[2];
    if (s_count >= CML_MOST_PIPES || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return false;
    }
    pipe->read = ends[0];
    pipe->write = ends[1];
    if (s_is_scarce(pipe->write) || !s_enlarge(pipe->write)) {
        s_close(pipe);
        return false;
    }
    return true;
}

struct cml_pipe *cml_pipe_new(void) {
    struct cml_pipe *pipe = cml_pipe_nowhere() != NULL ? calloc(1, sizeof(*pipe)) : NULL;
    if (pipe == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&s_lock);
    bool open = s_open(pipe);
    if (open) {
        s_link(pipe);
    }
    pthread_mutex_unlock(&s_lock);
    if (!open) {
        free(pipe);
    }
    return open ? pipe : NULL;
}

void cml_pipe_free(struct cml_pipe *pipe) {
    if (pipe != NULL) {
        pthread_mutex_lock(&s_lock);
        s_close(pipe);
        s_unlink(pipe);
        pthread_mutex_unlock(&s_lock);
        free(pipe);
    }
}

ssize_t cml_pipe_fill(struct cml_pipe *pipe, int socket, size_t most) {
    ssize_t moved;
    do {
        moved = splice(socket, NULL, pipe->write, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (moved < 0 && errno == EINTR);
    return moved;
}

size_t cml_pipe_write(struct cml_pipe *pipe, const uint8_t *data, size_t length) {
    ssize_t put;
    do {
        put = write(pipe->write, data, length);
    } while (put < 0 && errno == EINTR);
    return put > 0 ? (size_t)put : 0;
}

static ssize_t s_copy(struct cml_pipe *pipe, int file, uint64_t at, size_t most) {
    uint8_t some[COPY_BYTES];
    ssize_t got = read(pipe->read, some, most < sizeof(some) ? most : sizeof(some));
    for (ssize_t done = 0; done < got;) {
        ssize_t put = pwrite(file, some + done, (size_t)(got - done), (off_t)at + done);
        if (put <= 0 && !(put < 0 && errno == EINTR)) {
            errno = put == 0 ? EIO : errno;
            return -1;
        }
        done += put > 0 ? put : 0;
    }
    return got;
}

ssize_t cml_pipe_drain(struct cml_pipe *pipe, int file, uint64_t at, size_t most) {
    ssize_t moved = -1;
    do {
        loff_t to = (loff_t)at;
        moved = pipe->copies ? s_copy(pipe, file, at, most) : splice(pipe->read, NULL, file, &to, most, SPLICE_F_MOVE);
        if (moved < 0 && errno == EINVAL && !pipe->copies) {
            pipe->copies = true;
            errno = EINTR; /* in the other way */
        }
    } while (moved < 0 && errno == EINTR);
    return moved;
}

static uint8_t *s_nowhere;

static void s_prepare(void) {
    pthread_atfork(_before_fork, _after_fork_in_parent, _after_fork_in_child);
    void *made = mmap(NULL, CML_PIPE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    s_nowhere = made != MAP_FAILED ? made : NULL;
}

uint8_t *cml_pipe_nowhere(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, s_prepare);
    return s_nowhere;
}

bool cml_pipe_is_nowhere(const uint8_t *data) {
    const uint8_t *nowhere = cml_pipe_nowhere(); /* not s_nowhere: another thread may be making it */
    return nowhere != NULL && data >= nowhere && data < nowhere + CML_PIPE_BYTES;
}

#else

struct cml_pipe *cml_pipe_new(void) {
    return NULL;
}

void cml_pipe_free(struct cml_pipe *pipe) {
    (void)pipe;
}

ssize_t cml_pipe_fill(struct cml_pipe *pipe, int socket, size_t most) {
    (void)pipe, (void)socket, (void)most;
    return -1;
}

size_t cml_pipe_write(struct cml_pipe *pipe, const uint8_t *data, size_t length) {
    (void)pipe, (void)data, (void)length;
    return 0;
}

ssize_t cml_pipe_drain(struct cml_pipe *pipe, int file, uint64_t at, size_t most) {
    (void)pipe, (void)file, (void)at, (void)most;
    return -1;
}

uint8_t *cml_pipe_nowhere(void) {
    return NULL;
}

bool cml_pipe_is_nowhere(const uint8_t *data) {
    (void)data;
    return false;
}

#endif
