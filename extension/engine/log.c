#include "log.h"

#include <aws/common/logging.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINES 512

static atomic_int s_level = CML_LOG_OFF;
static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER; /* all below */
static struct cml_log_line s_ring[LINES];
static unsigned s_first, s_count;
static uint64_t s_dropped;
static struct cml_queue *s_reader;

int cml_log_level(void) {
    return atomic_load_explicit(&s_level, memory_order_relaxed);
}

static void s_put(int level, const char *subject, const char *format, va_list args) {
    struct cml_log_line line = {.level = level};
    int used = subject != NULL ? snprintf(line.text, sizeof(line.text), "%s: ", subject) : 0;
    if (used >= 0 && (size_t)used < sizeof(line.text)) {
        vsnprintf(line.text + used, sizeof(line.text) - (size_t)used, format, args);
    }
    pthread_mutex_lock(&s_lock);
    bool full = s_count == LINES;
    if (full) {
        s_dropped++;
    } else {
        s_ring[(s_first + s_count++) % LINES] = line;
    }
    struct cml_queue *reader = s_count == 1 ? s_reader : NULL;
    if (reader != NULL) {
        cml_queue_acquire(reader);
    }
    pthread_mutex_unlock(&s_lock);
    if (reader != NULL) {
        cml_queue_poke(reader);
        cml_queue_release(reader);
    }
}

void cml_log_write(int level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    s_put(level, NULL, format, args);
    va_end(args);
}

bool cml_log_take(struct cml_log_line *out, uint64_t *dropped) {
    pthread_mutex_lock(&s_lock);
    bool found = s_count > 0;
    if (found) {
        *out = s_ring[s_first];
        s_first = (s_first + 1) % LINES;
        s_count--;
    }
    *dropped = s_dropped;
    s_dropped = 0;
    pthread_mutex_unlock(&s_lock);
    return found;
}

void cml_log_set(int level, struct cml_queue *reader) {
    pthread_mutex_lock(&s_lock);
    struct cml_queue *old = s_reader;
    s_reader = reader;
    if (reader != NULL) {
        cml_queue_acquire(reader);
    }
    pthread_mutex_unlock(&s_lock);
    cml_queue_release(old);
    atomic_store(&s_level, level);
}

void cml_log_reset_after_fork(void) {
    pthread_mutex_init(&s_lock, NULL);
    s_reader = NULL; /* the parent's */
    s_count = 0;
    atomic_store(&s_level, CML_LOG_OFF);
}

/* ---- as the CRT's logger: global, set once, level switched by the atomic above ---- */

static int _on_crt_line(struct aws_logger *logger, enum aws_log_level level, aws_log_subject_t subject,
                        const char *format, ...) {
    (void)logger;
    va_list args;
    va_start(args, format);
    (void)level; /* what the CRT calls an error is mostly one that heals: details, to us */
    s_put(CML_LOG_DEBUG, aws_log_subject_name(subject), format, args);
    va_end(args);
    return AWS_OP_SUCCESS;
}

static enum aws_log_level _on_level_asked(struct aws_logger *logger, aws_log_subject_t subject) {
    (void)logger;
    (void)subject;
    return cml_log_level() >= CML_LOG_DEBUG ? AWS_LL_WARN : AWS_LL_NONE;
}

static void _on_clean_up(struct aws_logger *logger) {
    (void)logger;
}

static int _on_level_set(struct aws_logger *logger, enum aws_log_level level) {
    (void)logger;
    (void)level;
    return AWS_OP_SUCCESS;
}

void cml_log_install(void) {
    static struct aws_logger_vtable vtable = {
        .log = _on_crt_line,
        .get_log_level = _on_level_asked,
        .clean_up = _on_clean_up,
        .set_log_level = _on_level_set,
    };
    static struct aws_logger logger = {.vtable = &vtable};
    aws_logger_set(&logger);
}
