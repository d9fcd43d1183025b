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
};

static atomic_int s_count; /* in a forked child with those of its parent's requests, until it lets go of them */

/* Others can't do without: connections, and the program's own files. */
static bool s_is_scarce(int descriptor) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) != 0 || (rlim_t)descriptor >= limit.rlim_cur / 2;
}

/* Refused beyond a limit for all of a user's pipes. A smaller one costs more system calls than it spares copies. */
static bool s_enlarge(int end) {
    return fcntl(end, F_SETPIPE_SZ, (int)CML_PIPE_BYTES) >= (int)CML_PIPE_BYTES;
}

struct cml_pipe *cml_pipe_new(void) {
    struct cml_pipe *pipe = cml_pipe_nowhere() != NULL ? calloc(1, sizeof(*pipe)) : NULL;
    if (pipe == NULL) {
        return NULL;
    }
    int ends[2];
    if (atomic_fetch_add(&s_count, 1) >= CML_MOST_PIPES || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        atomic_fetch_sub(&s_count, 1);
        free(pipe);
        return NULL;
    }
    pipe->read = ends[0];
    pipe->write = ends[1];
    if (s_is_scarce(pipe->write) || !s_enlarge(pipe->write)) {
        cml_pipe_free(pipe);
        return NULL;
    }
    return pipe;
}

void cml_pipe_free(struct cml_pipe *pipe) {
    if (pipe != NULL) {
        close(pipe->read);
        close(pipe->write);
        free(pipe);
        atomic_fetch_sub(&s_count, 1);
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

static void s_make_nowhere(void) {
    void *made = mmap(NULL, CML_PIPE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    s_nowhere = made != MAP_FAILED ? made : NULL;
}

uint8_t *cml_pipe_nowhere(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, s_make_nowhere);
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
