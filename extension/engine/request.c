/* Requests: the actions of the state machine (machine.h), from a submission to the end, but for those that take in a
 * response (receive.c). They run on the loop's thread only; each sets the next state through cml_request_enter.
 */
#include "bulk.h"
#include "log.h"
#include "pace.h"

#include <assert.h>
#include <aws/io/io.h>
#include <string.h>

void cml_request_enter(struct cml_request *request, enum cml_action action, enum cml_state next) {
    assert(cml_machine_allows(request->state, action, next));
    (void)action;
    request->state = next;
    if (next != CML_PACED && next != CML_QUEUED && next != CML_SENT && next != CML_BODY && next != CML_ABORTING) {
        cml_pace_leave(request); /* nothing of it is under way at the server, or its consumer keeps it waiting */
    }
    if (next != CML_SENT && request->twin != NULL) {
        cml_hedge_drop(request);
    }
}

void cml_request_note(struct cml_request *request, int error, int crt_error) {
    request->pending_error = error;
    request->pending_crt = crt_error;
}

/* ---- ending ---- */

static void s_count_end(struct cml_request *request, int error) {
    struct cml_client *client = request->client;
    atomic_fetch_add_explicit(&client->bytes_received, request->received, memory_order_relaxed);
    atomic_fetch_add_explicit(&client->bytes_sent, request->source_at, memory_order_relaxed);
    if (error != CML_OK && !request->is_twin) {
        atomic_fetch_add_explicit(&client->errors, 1, memory_order_relaxed);
    }
}

/* `finished` and its note in the same breath: who drains a note and sees the end knows that no other will come. */
struct cml_note *cml_request_ended(struct cml_request *request) {
    cml_file_ended(request);
    request->finished = true;
    return cml_note_claim(request);
}

void cml_request_conclude(struct cml_request *request, int error, int crt_error) {
    s_count_end(request, error);
    cml_request_lock(request);
    request->error = error;
    request->crt_error = crt_error;
    request->headers_ready = request->headers_ready || error == CML_OK;
    /* At exit the stream is left to itself, and an upload's source is about to go away. */
    request->revoked = request->revoked || error == CML_ERR_SHUTDOWN;
    if (error == CML_OK && request->spill_len == 0) {
        cml_body_finish(request);
    }
    bool later = cml_file_ends_later(request, error);
    struct cml_note *note = later ? NULL : cml_request_ended(request);
    pthread_mutex_unlock(&request->lock);
    if (!later) {
        cml_note_push(note);
        cml_request_release(request); /* twin: cml_request_submit */
    }
}

static void s_finish(struct cml_request *request, enum cml_action action, int error, int crt_error) {
    cml_request_enter(request, action, CML_DONE);
    cml_link_remove(&request->live_link);
    cml_sum_stop(&request->sum);
    cml_hedge_ended(request);
    atomic_fetch_sub_explicit(&request->shard->in_flight, 1, memory_order_relaxed);
    if (request->flags & CML_FLAG_CLEAN_UP) {
        atomic_fetch_sub(&request->client->endpoint->runtime->cleaning_up, 1);
    }
    cml_request_conclude(request, error, crt_error);
}

/* ---- actions: before the wire ---- */

static void s_enqueue(struct cml_request *request, enum cml_action action) {
    if (!cml_pace_enter(request)) {
        cml_request_enter(request, action, CML_PACED);
        return;
    }
    cml_request_enter(request, action, CML_QUEUED);
    cml_endpoint_wait(request);
    /* Last: it may serve this very request, and others. */
    cml_endpoint_pump(&request->client->endpoint->shards[request->shard->index]);
}

static void s_prepare(struct cml_request *request, enum cml_action action) {
    if (cml_signs(request)) {
        struct aws_credentials *credentials = NULL;
        switch (cml_credentials_get(request->client->credentials, request, &credentials, &request->signed_with)) {
            case CML_WAIT_CREDENTIALS:
                cml_request_enter(request, action, CML_CREDENTIALS);
                return;
            case CML_NO_CREDENTIALS:
                s_finish(request, action, CML_ERR_CREDENTIALS, 0);
                return;
            default:
                aws_credentials_release(credentials);
        }
    }
    s_enqueue(request, action);
}

static void s_start(struct cml_request *request) {
    struct cml_shard *shard = request->shard;
    uint64_t total = request->total_ns != 0 ? request->total_ns : request->client->total_ns;
    request->deadline_ns = total != 0 ? request->started_ns + total : UINT64_MAX;
    cml_link_push_back(&shard->live, &request->live_link);
    cml_shard_sweep_by(shard, request->deadline_ns);
    s_prepare(request, CML_PREPARE);
}

static void s_count_attempt(struct cml_request *request) {
    cml_request_lock(request); /* the consumer may look at any time */
    request->attempts++;
    pthread_mutex_unlock(&request->lock);
}

static void s_begin_attempt(struct cml_request *request) {
    cml_response_reset(&request->current);
    request->error_len = 0;
    request->attempt_base = request->received;
    request->attempt_received = request->skip = 0;
    request->wanted = UINT64_MAX;
    request->window_credited = 0;
    request->progress_ns = request->probed_ns = cml_now_ns();
    request->sending_since_ns = request->sent_till_ns = request->progress_ns;
    request->in_kernel = -1;
    s_count_attempt(request);
    request->trying_since_ns = request->trying_since_ns != 0 ? request->trying_since_ns : request->progress_ns;
    request->reused_connection = request->connection->served > 0;
    atomic_fetch_add_explicit(&request->client->attempts, 1, memory_order_relaxed);
}

static void s_retry_or_fail(struct cml_request *request, enum cml_action action);

static void s_send(struct cml_request *request) {
    struct cml_connection *connection = request->connection;
    struct aws_credentials *credentials = NULL;
    if (cml_signs(request) && cml_credentials_get(request->client->credentials, NULL, &credentials,
                                                  &request->signed_with) != CML_HAVE_CREDENTIALS) {
        request->connection = NULL;
        s_prepare(request, CML_SEND); /* they expired while it queued */
        cml_endpoint_give_back(connection, true);
        return;
    }
    if (!cml_pace_send(request)) { /* the server has throttled others while it queued */
        request->connection = NULL;
        cml_request_enter(request, CML_SEND, CML_PACED);
        if (credentials != NULL) {
            aws_credentials_release(credentials);
        }
        cml_endpoint_give_back(connection, true);
        return;
    }
    s_begin_attempt(request);
    int crt_error = cml_transport_send(request, credentials);
    if (credentials != NULL) {
        aws_credentials_release(credentials);
    }
    if (crt_error == 0) {
        cml_request_enter(request, CML_SEND, CML_SENT);
        if (request->client->stall_ns != 0) {
            uint64_t patience = request->client->stall_ns / (request->body_length > 0 ? 4 : 1);
            cml_shard_sweep_by(request->shard, request->progress_ns + patience);
        }
        cml_hedge_sent(request);
        return;
    }
    request->connection = NULL;
    cml_request_note(request, cml_error_of_unsent(crt_error), crt_error);
    s_retry_or_fail(request, CML_SEND);
    cml_endpoint_give_back(connection, crt_error == AWS_IO_STREAM_READ_FAILED);
}

/* ---- actions: the end of an attempt ---- */

void cml_request_abort(struct cml_request *request, enum cml_action action, enum cml_after_abort then) {
    request->after_abort = then;
    if (request->state == CML_PAUSED) {
        cml_link_remove(&request->wait_link);
    }
    cml_request_enter(request, action, CML_ABORTING);
    cml_transport_abort(request);
}

static void s_conclude(struct cml_request *request) {
    if (request->state == CML_PAUSED) {
        cml_link_remove(&request->wait_link);
    }
    int error = cml_check_end(request);
    if (error == CML_OK) {
        s_finish(request, CML_CONCLUDE, CML_OK, 0);
    } else {
        cml_request_note(request, error, 0);
        s_retry_or_fail(request, CML_CONCLUDE);
    }
}

bool cml_request_is_revoked(struct cml_request *request) {
    cml_request_lock(request);
    bool revoked = request->revoked;
    pthread_mutex_unlock(&request->lock);
    return revoked;
}

/* Without the query: it may hold a signature. */
static void s_log(const struct cml_request *request, int level, const char *what, uint64_t ms) {
    const char *query = memchr(request->arena, '?', request->path_len);
    size_t length = query != NULL ? (size_t)(query - request->arena) : request->path_len;
    cml_log_write(level, "%s %s%.*s: attempt %u: %s, status %d, %llu body bytes; %s %llu ms", request->method,
                  request->client->host_header, (int)(length > 120 ? 120 : length), request->arena, request->attempts,
                  cml_error_name(request->pending_error), request->current.status,
                  (unsigned long long)request->received, what, (unsigned long long)ms);
}

/* Nobody has seen anything of the response: the next attempt may bring another. */
static void s_uncommit(struct cml_request *request) {
    request->committed = false;
    cml_request_lock(request);
    request->headers_ready = false;
    pthread_mutex_unlock(&request->lock);
}

/* An error's status is the answer, even when the text that says why breaks off, stalls or is no HTTP. */
static bool s_was_refused(const struct cml_request *request) {
    switch (request->pending_error) {
        case CML_ERR_STALL_TIMEOUT:
        case CML_ERR_RESET:
        case CML_ERR_TRUNCATED:
        case CML_ERR_PROTOCOL:
            return request->got_headers && request->current.status != 0 && cml_is_error_status(request);
        default:
            return false;
    }
}

static void s_retry_or_fail(struct cml_request *request, enum cml_action action) {
    uint64_t wait = 0;
    if (s_was_refused(request)) {
        cml_request_note(request, CML_ERR_STATUS, 0);
    }
    if (request->pending_error == CML_ERR_STATUS &&
        cml_status_is_throttling(&request->current, request->error_body, request->error_len)) {
        cml_pace_throttled(request);
    }
    if (cml_request_is_revoked(request)) {
        s_finish(request, action, CML_ERR_CANCELLED, 0); /* whatever came of it: its upload may have broken off, say */
        return;
    }
    if (request->pending_error != CML_ERR_CHECKSUM && cml_all_is_here(request)) {
        s_finish(request, action, CML_OK, 0); /* the connection broke after the last byte */
        return;
    }
    if (request->pending_error == CML_ERR_STATUS && request->current.status == 412 && request->received > 0 &&
        request->committed) {
        request->pending_error = CML_ERR_CHANGED; /* our own If-Match, sent to go on with the body */
    }
    if (!cml_may_retry(request, &wait) || !cml_can_go_on(request)) {
        if (cml_log_level() >= CML_LOG_INFO) {
            s_log(request, CML_LOG_INFO, "failed after", (cml_now_ns() - request->started_ns) / 1000000);
        }
        s_finish(request, action, request->pending_error, request->pending_crt);
        return;
    }
    atomic_fetch_add_explicit(&request->client->retries, 1, memory_order_relaxed);
    if (cml_may_be_done(request)) {
        cml_request_lock(request);
        request->in_doubt = true;
        pthread_mutex_unlock(&request->lock);
    }
    if (request->received == 0 && !(request->flags & CML_FLAG_ANNOUNCE_HEADERS) && request->prefetched == NULL) {
        s_uncommit(request);
    }
    cml_request_enter(request, action, CML_BACKOFF);
    request->wake_ns = cml_now_ns() + wait;
    if (cml_log_level() >= CML_LOG_INFO) {
        s_log(request, CML_LOG_INFO, "again in", wait / 1000000);
    }
    cml_shard_sweep_by(request->shard, request->wake_ns);
}

/* Only when the consumer has taken all that was received: what waits for room must not grow with each parking. */
static void s_resume_if_room(struct cml_request *request) {
    cml_request_lock(request);
    bool has_room = request->room_posted > request->received;
    pthread_mutex_unlock(&request->lock);
    if (has_room) {
        request->trying_since_ns = 0;
        s_prepare(request, CML_RESUME);
    }
}

static void s_park(struct cml_request *request, enum cml_action action) {
    cml_request_enter(request, action, CML_PARKED);
    cml_forgive(request);
    cml_body_drop_spill(request);
    cml_shard_sweep_by(request->shard, request->deadline_ns); /* sweeps leave out what is being aborted */
    s_resume_if_room(request);
}

static void s_settle(struct cml_request *request) {
    switch (request->after_abort) {
        case CML_THEN_PARK:
            s_park(request, CML_SETTLE);
            break;
        case CML_THEN_FAIL:
            s_finish(request, CML_SETTLE, request->pending_error, request->pending_crt);
            break;
        default:
            s_retry_or_fail(request, CML_SETTLE);
    }
}

static void s_fail(struct cml_request *request) {
    if (request->state == CML_QUEUED) {
        cml_endpoint_unwait(request);
    } else if (request->state == CML_CREDENTIALS) {
        cml_credentials_unwait(request->client->credentials, request);
    } else if (request->state == CML_PAUSED) {
        cml_link_remove(&request->wait_link);
    } else if (request->state == CML_NEW) {
        cml_link_remove(&request->live_link);
    }
    if (request->stream != NULL) { /* exit does not wait for it, but the caller's memory is free from here on */
        cml_request_lock(request);
        request->revoked = true;
        pthread_mutex_unlock(&request->lock);
        cml_transport_abort(request);
    }
    s_finish(request, CML_FAIL, request->pending_error, request->pending_crt);
}

static void s_retry(struct cml_request *request) {
    if (request->state == CML_QUEUED) { /* it has found no connection */
        s_count_attempt(request);
        request->trying_since_ns = request->trying_since_ns != 0 ? request->trying_since_ns : request->waiting_since_ns;
    }
    if (request->state == CML_PAUSED) {
        cml_link_remove(&request->wait_link);
    }
    s_retry_or_fail(request, CML_RETRY);
}

static void s_broken_while_paused(struct cml_request *request) {
    cml_link_remove(&request->wait_link);
    if (cml_is_resumable(request)) {
        s_park(request, CML_PARK);
    } else {
        s_retry_or_fail(request, CML_PARK);
    }
}

void cml_dispatch(struct cml_request *request, enum cml_event event) {
    enum cml_action action = cml_machine_action(request->state, event);
    if (event == CML_ON_CANCEL) {
        cml_request_note(request, CML_ERR_CANCELLED, 0);
    } else if (event == CML_ON_NO_CREDENTIALS) {
        cml_request_note(request, CML_ERR_CREDENTIALS, 0);
    }
    switch (action) {
        case CML_PREPARE:
            if (event == CML_ON_SUBMIT) {
                s_start(request);
            } else {
                s_prepare(request, action);
            }
            break;
        case CML_ENQUEUE:
            s_prepare(request, action);
            break;
        case CML_SEND:
            s_send(request);
            break;
        case CML_JUDGE:
            cml_receive_judge(request);
            break;
        case CML_CONCLUDE:
            s_conclude(request);
            break;
        case CML_RETRY:
            s_retry(request);
            break;
        case CML_PARK:
            s_broken_while_paused(request);
            break;
        case CML_EVICT:
            cml_request_note(request, CML_OK, 0); /* no failure: others need its connection */
            cml_request_abort(request, action, CML_THEN_PARK);
            break;
        case CML_ABORT:
            cml_request_abort(request, action, event == CML_ON_CANCEL || request->pending_error == CML_ERR_TOTAL_TIMEOUT
                                         ? CML_THEN_FAIL
                                         : CML_THEN_RETRY);
            break;
        case CML_SETTLE:
            s_settle(request);
            break;
        case CML_DOOM:
            request->after_abort = CML_THEN_FAIL;
            break;
        case CML_OPEN:
            cml_receive_open(request);
            break;
        case CML_PAUSE:
            cml_receive_pause(request);
            break;
        case CML_RESUME:
            s_resume_if_room(request);
            break;
        case CML_FAIL:
            s_fail(request);
            break;
        case CML_DELIVER: /* comes by cml_request_on_data */
        case CML_BUG:
            assert(!"an event that cannot happen in this state");
            break;
        default:
            break;
    }
}
