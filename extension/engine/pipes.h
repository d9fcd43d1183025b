/* Pipes that carry bodies from a socket to a file inside the kernel (Linux's splice): no pass over memory of ours.
 *
 * The process has at most CML_MOST_PIPES of them, two descriptors each, for as long as a body is on its way, and none
 * with descriptors of the upper half of those that it may have; who gets none copies. Any thread; a pipe itself is filled
 * by one and drained by another, not at a time. What is in it when it is freed is dropped.
 */
#ifndef CML_PIPES_H
#define CML_PIPES_H

#include "cml.h"

#include <sys/types.h>

#define CML_PIPE_BYTES ((size_t)1 << 20) /* each network packet takes a page of it */
#define CML_MOST_PIPES 48 /* of the 64 MiB that a user may have (pipe-user-pages-soft) */

struct cml_pipe;

struct cml_pipe *cml_pipe_new(void); /* NULL for none */
void cml_pipe_free(struct cml_pipe *pipe);
/* Bytes that were moved from a socket without waiting; 0 at its end; -1 with errno: EAGAIN also when the pipe is full. */
ssize_t cml_pipe_fill(struct cml_pipe *pipe, int socket, size_t most);
size_t cml_pipe_write(struct cml_pipe *pipe, const uint8_t *data, size_t length); /* how many found room */
/* Bytes that were moved to a file from `at` on; may wait for the disk. -1 with errno. */
ssize_t cml_pipe_drain(struct cml_pipe *pipe, int file, uint64_t at, size_t most);
/* Stands in for the address of bytes that are in a pipe: CML_PIPE_BYTES that nobody can read. NULL where there is none. */
uint8_t *cml_pipe_nowhere(void);
bool cml_pipe_is_nowhere(const uint8_t *data);

#endif
