/* Log lines on their way to Python: the CRT's and the engine's own.
 *
 * Off, a line costs one relaxed load. On, it is formatted into a bounded ring under a mutex of its own and a reader is
 * woken; no thread of the engine ever takes the GIL for it. When the ring is full, lines are dropped and counted.
 * Lines hold methods, keys, hosts and error names; never header values, credentials or bodies.
 */
#ifndef CML_LOG_H
#define CML_LOG_H

#include "cml.h"
#include "queue.h"

enum { CML_LOG_OFF = 0, CML_LOG_ERROR = 2, CML_LOG_WARN = 3, CML_LOG_INFO = 4, CML_LOG_DEBUG = 5 };
#define CML_LOG_LINE 320

struct cml_log_line {
    int level;
    char text[CML_LOG_LINE];
};

/* Once, before the first thread of the runtime: makes the CRT log through here too. */
void cml_log_install(void);
void cml_log_set(int level, struct cml_queue *reader); /* the reader is poked when there are lines */
bool cml_log_take(struct cml_log_line *out, uint64_t *dropped);
void cml_log_reset_after_fork(void);

int cml_log_level(void);
void cml_log_write(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define CML_LOG(level, ...)                                                                                            \
    do {                                                                                                               \
        if (cml_log_level() >= (level)) {                                                                              \
            cml_log_write((level), __VA_ARGS__);                                                                       \
        }                                                                                                              \
    } while (0)

#endif
