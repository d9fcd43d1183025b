/* Shared vocabulary of the engine: error codes, live-object counters, small helpers.
 *
 * The engine is plain C11 on the AWS CRT. It knows no Python: it never takes the GIL and never calls back into an
 * interpreter. What it has to say goes onto a completion queue (queue.h).
 */
#ifndef CML_H
#define CML_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What went wrong, before a provider's own error code is looked at. The order is mirrored in core/errors.pxi. */
enum cml_error {
    CML_OK = 0,
    CML_ERR_CANCELLED,
    CML_ERR_CONNECT,         /* refused, unreachable, reset while connecting */
    CML_ERR_DNS,             /* the host name does not resolve */
    CML_ERR_TLS,             /* bad certificate, plain port, handshake failure */
    CML_ERR_PROXY,           /* the proxy refused the tunnel */
    CML_ERR_CONNECT_TIMEOUT, /* no connection within connect_timeout */
    CML_ERR_STALL_TIMEOUT,   /* no byte moved for read_timeout */
    CML_ERR_TOTAL_TIMEOUT,   /* the call's own time limit */
    CML_ERR_RESET,           /* the connection went away */
    CML_ERR_TRUNCATED,       /* the body ended before its length */
    CML_ERR_PROTOCOL,        /* not HTTP as RFC 9112 has it */
    CML_ERR_NO_LENGTH,       /* a body with neither length nor chunked coding: its end cannot be known */
    CML_ERR_WRONG_RANGE,     /* the answer holds other bytes than those asked for */
    CML_ERR_BEHIND_END,      /* the range begins where the object has ended */
    CML_ERR_TOO_LARGE,       /* more body than the destination holds */
    CML_ERR_CHANGED,         /* the object was replaced between two requests for it */
    CML_ERR_CHECKSUM,        /* the body does not match the checksum sent with it */
    CML_ERR_STATUS,          /* a status outside 200..299 */
    CML_ERR_CREDENTIALS,     /* no credentials could be had */
    CML_ERR_BODY_READ,       /* the upload's source failed or is shorter than announced */
    CML_ERR_FILE,            /* the file that the body goes to can't be written: os_error says why */
    CML_ERR_RESOURCES,       /* out of file descriptors or memory */
    CML_ERR_SHUTDOWN,        /* the interpreter is exiting */
    CML_ERR_INTERNAL,
    CML_ERR_COUNT
};

const char *cml_error_name(int error);

/* Live objects, counted in every build (one relaxed add each); tests assert that they return to where they were. */
enum cml_live {
    CML_LIVE_REQUESTS,
    CML_LIVE_CONNECTIONS,
    CML_LIVE_CLIENTS,
    CML_LIVE_BUFFERS,
    CML_LIVE_QUEUES,
    CML_LIVE_COLUMNS,
    CML_LIVE_ARRAYS, /* that a consumer has to release, children included */
    CML_LIVE_KINDS,
};
void cml_live_add(enum cml_live kind, int delta);
int64_t cml_live_get(enum cml_live kind);
void cml_live_reset_after_fork(void);

uint64_t cml_now_ns(void); /* monotonic, the event loops' own clock */

#define CML_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#endif
