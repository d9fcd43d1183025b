/* A bulk job's life: from a cml_request to a meta request of aws-c-s3, and back.
 *
 * submit -> s_start -> callbacks (headers, progress, attempts) -> _on_finish -> _on_shutdown -> the end, or another try
 *
 * The callbacks come on aws-c-s3's threads, which may be several; what they note is under the request's lock. Only
 * _on_shutdown concludes: from then on aws-c-s3 touches neither the memory nor the file of the job. The job holds one
 * reference on its request, taken in cml_bulk_submit and given back by cml_request_conclude.
 *
 * What aws-c-s3 tries again is a part. What it gives up on at once although it can heal (429, keys that have just
 * expired, a checksum that does not match), and a body that was shorter than its headers said, makes the whole job try
 * again here, when its content can be had again.
 */
#include "bulk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define AGAIN_STEP_NS 100000000ull /* a job that waits for another try looks this often if it is still wanted */

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cml_link s_jobs = {&s_jobs, &s_jobs}; /* under s_lock: those submitted and not concluded */

/* ---- making one ---- */

bool cml_request_set_bulk(struct cml_request *request, const struct cml_bulk_options *options) {
    struct cml_bulk *bulk = calloc(1, sizeof(*bulk));
    if (bulk == NULL) {
        return false;
    }
    bulk->owner = request;
    bulk->fd = -1;
    bulk->options = *options;
    const char **texts[] = {&bulk->options.file, &bulk->options.checksum, &bulk->options.expected,
                            &bulk->options.copy_source};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); ++i) {
        *texts[i] = *texts[i] != NULL ? strdup(*texts[i]) : NULL;
    }
    cml_link_init(&bulk->link);
    request->bulk = bulk;
    return true;
}

void cml_bulk_free(struct cml_bulk *bulk) {
    if (bulk != NULL) {
        free((char *)bulk->options.file);
        free((char *)bulk->options.checksum);
        free((char *)bulk->options.expected);
        free((char *)bulk->options.copy_source);
        free(bulk);
    }
}

int cml_client_prepare_bulk(struct cml_client *client) {
    return cml_bulk_client_get(client) != NULL ? 0 : aws_last_error();
}

/* aws-c-s3 takes no IPv6 literal apart, bounds no request's time and knows no clock but this machine's. */
bool cml_client_can_bulk(const struct cml_client *client) {
    return strchr(client->endpoint->host, ':') == NULL && client->total_ns == 0 &&
           atomic_load_explicit(&client->endpoint->clock_skew_s, memory_order_relaxed) == 0;
}

/* ---- the end ---- */

/* What the try came to. A part may be shorter than its own headers say: aws-c-s3 does not count. */
static int s_judge(struct cml_request *request) {
    struct cml_bulk *bulk = request->bulk;
    cml_request_lock(request);
    int why_stopped = bulk->stopped ? bulk->why_stopped : CML_OK;
    uint64_t received = request->received;
    pthread_mutex_unlock(&request->lock);
    if (why_stopped != CML_OK) {
        return why_stopped;
    }
    if (bulk->crt_error != 0) {
        return cml_bulk_error(request, bulk->crt_error);
    }
    uint64_t wanted = request->range_to - request->range_from;
    return cml_bulk_is_get(bulk) && received != wanted ? CML_ERR_TRUNCATED : CML_OK;
}

static void s_end(struct cml_request *request, int error) {
    struct cml_bulk *bulk = request->bulk;
    pthread_mutex_lock(&s_lock);
    cml_link_remove(&bulk->link);
    pthread_mutex_unlock(&s_lock);
    cml_request_lock(request);
    request->attempts = bulk->tries;
    if (error != CML_OK && bulk->failed_attempts > 1) {
        request->attempts += bulk->failed_attempts - 1;
    }
    pthread_mutex_unlock(&request->lock);
    cml_request_conclude(request, error, bulk->crt_error);
}

/* ---- another try ---- */

static void s_start(struct cml_request *request);

static void _on_again(struct aws_task *task, void *arg, enum aws_task_status status) {
    struct cml_request *request = arg;
    struct cml_bulk *bulk = request->bulk;
    cml_request_lock(request);
    bool stopped = bulk->stopped || status != AWS_TASK_STATUS_RUN_READY;
    int why = bulk->stopped ? bulk->why_stopped : CML_ERR_SHUTDOWN;
    pthread_mutex_unlock(&request->lock);
    uint64_t now = cml_now_ns();
    if (stopped) {
        s_end(request, why);
    } else if (now >= bulk->again_at_ns) {
        s_start(request);
    } else {
        uint64_t left = bulk->again_at_ns - now;
        aws_event_loop_schedule_task_future(cml_runtime->shards[0].loop, task,
                                            now + (left < AGAIN_STEP_NS ? left : AGAIN_STEP_NS));
    }
}

static bool s_may_heal(struct cml_request *request, int error, uint64_t *wait_ns) {
    struct cml_bulk *bulk = request->bulk;
    bool ours = error == CML_ERR_CHECKSUM || error == CML_ERR_TRUNCATED ||
                (error == CML_ERR_STATUS && request->current.status < 500);
    if (!ours || bulk->options.job == CML_BULK_PUT_WRITES) {
        return false;
    }
    request->pending_error = error;
    request->pending_crt = bulk->crt_error;
    request->signed_with = atomic_load_explicit(&bulk->publication, memory_order_relaxed);
    return cml_may_retry(request, wait_ns);
}

static void _on_shutdown(void *user_data) {
    struct cml_request *request = user_data;
    struct cml_bulk *bulk = request->bulk;
    uint64_t wait = 0;
    int error = s_judge(request);
    if (error == CML_OK || !s_may_heal(request, error, &wait)) {
        s_end(request, error);
        return;
    }
    atomic_fetch_add_explicit(&request->client->retries, 1, memory_order_relaxed);
    bulk->again_at_ns = cml_now_ns() + wait;
    aws_task_init(&bulk->again_task, _on_again, request, "cumulo_bulk_again");
    aws_event_loop_schedule_task_now(cml_runtime->shards[0].loop, &bulk->again_task);
}

/* ---- aws-c-s3's callbacks ---- */

static void s_take_headers(struct cml_response *response, const struct aws_http_headers *headers, int status) {
    cml_response_reset(response);
    response->status = status;
    for (size_t i = 0; i < aws_http_headers_count(headers); ++i) {
        struct aws_http_header header;
        aws_http_headers_get_index(headers, i, &header);
        cml_response_add(response, &header);
    }
}

static int _on_headers(struct aws_s3_meta_request *meta, const struct aws_http_headers *headers, int status,
                       void *user_data) {
    (void)meta;
    struct cml_request *request = user_data;
    if (status >= 200 && status <= 299) {
        cml_request_lock(request);
        s_take_headers(&request->response, headers, status);
        pthread_mutex_unlock(&request->lock);
    }
    return AWS_OP_SUCCESS;
}

static void _on_progress(struct aws_s3_meta_request *meta, const struct aws_s3_meta_request_progress *progress,
                         void *user_data) {
    (void)meta;
    struct cml_request *request = user_data;
    cml_request_lock(request);
    if (cml_bulk_is_get(request->bulk)) {
        request->received += progress->bytes_transferred;
    } else {
        request->source_at += progress->bytes_transferred;
    }
    pthread_mutex_unlock(&request->lock);
}

/* One HTTP request has ended, well or not. The last that failed by itself is what the job's failure tells of. */
static void _on_attempt(struct aws_s3_meta_request *meta, struct aws_s3_request_metrics *metrics, void *user_data) {
    (void)meta;
    struct cml_request *request = user_data;
    int error = aws_s3_request_metrics_get_error_code(metrics);
    enum aws_s3_request_type type = AWS_S3_REQUEST_TYPE_UNKNOWN;
    aws_s3_request_metrics_get_request_type(metrics, &type);
    if (type != AWS_S3_REQUEST_TYPE_HEAD_OBJECT || error != 0) {
        cml_bulk_created(request);
    }
    uint32_t retries = aws_s3_request_metrics_get_retry_attempt(metrics);
    atomic_fetch_add_explicit(&request->client->attempts, 1, memory_order_relaxed);
    if (retries > 0) {
        atomic_fetch_add_explicit(&request->client->retries, 1, memory_order_relaxed);
    }
    if (error == 0 || error == AWS_ERROR_S3_CANCELED) {
        return;
    }
    int status = 0;
    struct aws_http_headers *headers = NULL;
    bool told = aws_s3_request_metrics_get_response_status_code(metrics, &status) == AWS_OP_SUCCESS &&
                aws_s3_request_metrics_get_response_headers(metrics, &headers) == AWS_OP_SUCCESS;
    cml_request_lock(request);
    request->bulk->failed_attempts = retries + 1;
    if (told && headers != NULL && !request->bulk->finish_seen) {
        s_take_headers(&request->current, headers, status);
    }
    pthread_mutex_unlock(&request->lock);
}

static void _on_finish(struct aws_s3_meta_request *meta, const struct aws_s3_meta_request_result *result,
                       void *user_data) {
    (void)meta;
    struct cml_request *request = user_data;
    struct cml_bulk *bulk = request->bulk;
    cml_request_lock(request);
    bulk->crt_error = result->error_code;
    if (result->error_response_headers != NULL) {
        s_take_headers(&request->current, result->error_response_headers, result->response_status);
    }
    if (result->error_response_body != NULL) {
        request->error_len = 0;
        cml_keep_error_body(request, result->error_response_body->buffer, result->error_response_body->len);
    }
    bulk->finish_seen = true;
    struct aws_s3_meta_request *held = bulk->meta;
    bulk->meta = NULL;
    pthread_mutex_unlock(&request->lock);
    aws_s3_meta_request_release(held); /* NULL when s_start has not come to take it yet; it lets go itself then */
}

static struct timespec s_written_at(const struct stat *status) {
#ifdef __APPLE__
    return status->st_mtimespec;
#else
    return status->st_mtim;
#endif
}

/* All parts are sent: what was read while the file was written to must not become an object. */
static int _on_review(struct aws_s3_meta_request *meta, const struct aws_s3_upload_review *review, void *user_data) {
    (void)meta, (void)review;
    const struct cml_request *request = user_data;
    const struct cml_bulk *bulk = request->bulk;
    struct stat now;
    if (request->body_fd < 0) {
        return AWS_OP_SUCCESS;
    }
    if (fstat(request->body_fd, &now) != 0 || now.st_size != bulk->file_size ||
        s_written_at(&now).tv_sec != bulk->file_time.tv_sec || s_written_at(&now).tv_nsec != bulk->file_time.tv_nsec) {
        return aws_raise_error(AWS_ERROR_S3_FILE_MODIFIED);
    }
    return AWS_OP_SUCCESS;
}

/* ---- starting ---- */

static void s_note_file(struct cml_request *request) {
    struct stat now;
    if (request->body_fd >= 0 && fstat(request->body_fd, &now) == 0) {
        request->bulk->file_time = s_written_at(&now);
        request->bulk->file_size = now.st_size;
    }
}

/* What begins by creating an upload, rather than being a single request. */
static bool s_creates(const struct cml_request *request) {
    const struct cml_bulk_options *options = &request->bulk->options;
    if (options->job == CML_BULK_PUT || options->job == CML_BULK_PUT_FILE) {
        return request->body_length > options->part_bytes;
    }
    return options->job == CML_BULK_PUT_WRITES || options->job == CML_BULK_COPY;
}

static void s_reset(struct cml_request *request) {
    struct cml_bulk *bulk = request->bulk;
    cml_request_lock(request);
    cml_response_reset(&request->response);
    cml_response_reset(&request->current);
    request->received = 0;
    request->error_len = 0;
    bulk->finish_seen = false;
    bulk->failed_attempts = 0;
    bulk->starting = true;
    bulk->creating = s_creates(request);
    bulk->tries++;
    pthread_mutex_unlock(&request->lock);
    bulk->crt_error = 0;
}

/* Takes over the reference on `meta`, which may have finished already. */
static void s_started(struct cml_request *request, struct aws_s3_meta_request *meta) {
    struct cml_bulk *bulk = request->bulk;
    cml_request_lock(request);
    bulk->starting = false;
    bool stopped = bulk->stopped, ended = bulk->finish_seen;
    if (!ended) {
        bulk->meta = aws_s3_meta_request_acquire(meta);
    }
    pthread_mutex_unlock(&request->lock);
    if (stopped && !ended) {
        cml_bulk_stop_meta(request);
    }
    aws_s3_meta_request_release(meta);
}

static void s_start(struct cml_request *request) {
    struct aws_s3_meta_request_options callbacks = {
        .headers_callback = _on_headers,
        .progress_callback = _on_progress,
        .telemetry_callback = _on_attempt,
        .upload_review_callback = _on_review,
        .finish_callback = _on_finish,
        .shutdown_callback = _on_shutdown,
    };
    s_reset(request);
    cml_request_acquire(request); /* it may end, and go, before we are through here */
    struct aws_s3_meta_request *meta = cml_bulk_make(request, &callbacks);
    if (meta != NULL) {
        s_started(request, meta);
    } else {
        int error = aws_last_error();
        cml_request_lock(request);
        request->bulk->starting = false;
        pthread_mutex_unlock(&request->lock);
        request->bulk->crt_error = error != 0 ? error : AWS_ERROR_UNKNOWN;
        s_end(request, cml_bulk_error(request, request->bulk->crt_error));
    }
    cml_request_release(request);
}

void cml_bulk_submit(struct cml_request *request) {
    request->started_ns = cml_now_ns();
    s_note_file(request);
    atomic_fetch_add_explicit(&request->client->requests, 1, memory_order_relaxed);
    cml_request_acquire(request); /* the job's; twin: cml_request_conclude */
    pthread_mutex_lock(&s_lock);
    cml_link_push_back(&s_jobs, &request->bulk->link);
    pthread_mutex_unlock(&s_lock);
    if (atomic_load(&cml_runtime->closing)) { /* seen here, or the job is seen by cml_bulk_quiesce */
        s_end(request, CML_ERR_SHUTDOWN);
    } else {
        s_start(request);
    }
}

/* ---- writing ---- */

static void _on_writable(void *user_data) {
    struct cml_request *request = user_data;
    cml_request_lock(request);
    request->pieces_done++; /* what the writer waits for */
    struct cml_note *note = request->finished ? NULL : cml_note_claim(request);
    pthread_mutex_unlock(&request->lock);
    cml_note_push(note);
    cml_request_release(request); /* twin: cml_request_write */
}

struct aws_s3_meta_request *cml_bulk_meta(struct cml_request *request) {
    cml_request_lock(request);
    struct aws_s3_meta_request *meta = request->bulk->meta;
    if (meta != NULL) {
        aws_s3_meta_request_acquire(meta);
    }
    pthread_mutex_unlock(&request->lock);
    return meta;
}

int64_t cml_request_write(struct cml_request *request, const void *data, size_t length, bool end) {
    struct aws_s3_meta_request *meta = cml_bulk_meta(request);
    if (meta == NULL) {
        return CML_WRITE_FAILED;
    }
    cml_request_acquire(request); /* the waker's */
    struct aws_s3_meta_request_poll_write_result result = aws_s3_meta_request_poll_write(
        meta, aws_byte_cursor_from_array(data, length), end, _on_writable, request);
    aws_s3_meta_request_release(meta);
    if (result.is_pending) {
        return CML_WRITE_LATER;
    }
    cml_request_release(request);
    return result.error_code != 0 ? CML_WRITE_FAILED : (int64_t)result.bytes_processed;
}

/* ---- exit and fork ---- */

/* Those under way, each with a reference; the caller frees the array. */
static struct cml_request **s_all_jobs(size_t *count) {
    pthread_mutex_lock(&s_lock);
    *count = 0;
    for (struct cml_link *link = s_jobs.next; link != &s_jobs; link = link->next) {
        ++*count;
    }
    struct cml_request **jobs = calloc(*count + 1, sizeof(*jobs));
    size_t at = 0;
    for (struct cml_link *link = s_jobs.next; jobs != NULL && link != &s_jobs; link = link->next) {
        jobs[at] = CML_CONTAINER_OF(link, struct cml_bulk, link)->owner;
        cml_request_acquire(jobs[at++]);
    }
    pthread_mutex_unlock(&s_lock);
    return jobs;
}

static bool s_no_jobs(void) {
    pthread_mutex_lock(&s_lock);
    bool none = cml_link_empty(&s_jobs);
    pthread_mutex_unlock(&s_lock);
    return none;
}

bool cml_bulk_quiesce(uint32_t timeout_ms) {
    size_t count = 0;
    struct cml_request **jobs = s_all_jobs(&count);
    for (size_t i = 0; jobs != NULL && i < count; ++i) {
        cml_bulk_stop(jobs[i], CML_ERR_SHUTDOWN);
        cml_request_release(jobs[i]);
    }
    free(jobs);
    uint64_t until = cml_now_ns() + (uint64_t)timeout_ms * 1000000ull;
    while (!s_no_jobs() && cml_now_ns() < until) {
        cml_bulk_pause();
    }
    return s_no_jobs();
}

void cml_bulk_after_fork_in_child(void) {
    pthread_mutex_init(&s_lock, NULL);
    cml_link_init(&s_jobs); /* leaked: the parent's */
    cml_bulk_clients_after_fork_in_child();
}
