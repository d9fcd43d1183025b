/* Requests: the actions of the state machine (machine.h), and the calls by which other threads make, submit, feed and
 * cancel them. Actions run on the loop's thread only; each sets the next state through s_enter.
 */
#include "bulk.h"
#include "log.h"
#include "pace.h"

#include <assert.h>
#include <aws/io/io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static void s_enter(struct cml_request *request, enum cml_action action, enum cml_state next) {
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
    s_enter(request, action, CML_DONE);
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
        s_enter(request, action, CML_PACED);
        return;
    }
    s_enter(request, action, CML_QUEUED);
    cml_endpoint_wait(request);
    /* Last: it may serve this very request, and others. */
    cml_endpoint_pump(&request->client->endpoint->shards[request->shard->index]);
}

static void s_prepare(struct cml_request *request, enum cml_action action) {
    if (cml_signs(request)) {
        struct aws_credentials *credentials = NULL;
        switch (cml_credentials_get(request->client->credentials, request, &credentials, &request->signed_with)) {
            case CML_WAIT_CREDENTIALS:
                s_enter(request, action, CML_CREDENTIALS);
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
    request->in_kernel = -1;
    s_count_attempt(request);
    request->first_sent_ns = request->first_sent_ns != 0 ? request->first_sent_ns : request->progress_ns;
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
        s_enter(request, CML_SEND, CML_PACED);
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
        s_enter(request, CML_SEND, CML_SENT);
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

/* ---- actions: the response ---- */

static void s_abort(struct cml_request *request, enum cml_action action, enum cml_after_abort then) {
    request->after_abort = then;
    if (request->state == CML_PAUSED) {
        cml_link_remove(&request->wait_link);
    }
    s_enter(request, action, CML_ABORTING);
    cml_transport_abort(request);
}

/* What is fetched unasked and wanted as a whole is told of once, at its end. */
static bool s_waits_for_end(const struct cml_request *request) {
    return (request->flags & CML_FLAG_WHOLE) && request->prefetched != NULL;
}

static void s_commit(struct cml_request *request) {
    if (!request->committed) {
        struct cml_response swap = request->response;
        request->response = request->current;
        request->current = swap;
        /* Only the numbers of the attempt are needed from here on. */
        request->current.status = request->response.status;
        request->current.content_length = request->response.content_length;
        request->current.has_range = request->response.has_range;
        request->current.range_start = request->response.range_start;
        request->current.range_end = request->response.range_end;
        request->current.chunked = request->response.chunked;
        if (request->wanted != UINT64_MAX && request->response.has_range) { /* cut out of more */
            request->response.content_length = (int64_t)request->wanted;
        }
        request->committed = true;
    }
    if (!request->is_head) {
        cml_body_prefetch(request);
    }
    cml_request_lock(request);
    bool news = !request->headers_ready;
    request->headers_ready = true;
    pthread_mutex_unlock(&request->lock);
    if (news && (request->flags & CML_FLAG_ANNOUNCE_HEADERS) && !s_waits_for_end(request)) {
        cml_request_announce(request);
    }
}

static void s_start_checksum(struct cml_request *request) {
    const struct cml_response *response = &request->response;
    if (request->received > 0) {
        return;
    }
    enum cml_checksum sent = cml_response_checksum(response);
    request->sum_whole = (request->flags & CML_FLAG_VERIFY) && response->status == 200 && sent != CML_SUM_NONE &&
                         !request->is_head;
    enum cml_checksum kind = request->sum_whole ? sent : request->digest;
    if (kind != CML_SUM_NONE) {
        cml_sum_start(&request->sum, kind);
    }
}

static void s_sum_up(struct cml_request *request, const uint8_t *data, size_t length) {
    if (request->sum.kind == CML_SUM_NONE) {
        return;
    }
    uint64_t mark = request->digest_mark, at = request->received;
    if (at < mark && at + length >= mark) {
        size_t before = (size_t)(mark - at);
        cml_sum_update(&request->sum, data, before);
        request->marked_digest = request->sum.crc;
        data += before;
        length -= before;
    }
    cml_sum_update(&request->sum, data, length);
}

static void s_credit_window(struct cml_request *request) {
    if (request->sink != CML_SINK_STREAM) {
        return;
    }
    cml_request_lock(request);
    uint64_t posted = request->room_posted;
    pthread_mutex_unlock(&request->lock);
    uint64_t wanted = posted > request->attempt_base ? posted - request->attempt_base : 0;
    if (wanted > request->window_credited) {
        uint64_t more = wanted - request->window_credited;
        request->window_credited = wanted;
        cml_transport_open_window(request, more);
    }
}

/* A complete error response to an upload that is still going on does not end the stream: end it here. */
static void s_check_early_error(struct cml_request *request) {
    if (request->current.content_length >= 0 &&
        request->attempt_received >= (uint64_t)request->current.content_length &&
        request->source_at < request->body_length) {
        cml_request_note(request, CML_ERR_STATUS, 0);
        s_abort(request, CML_DELIVER, CML_THEN_RETRY);
    }
}

/* The twin's answer is the one: its principal goes on with it, and the twin ends with what was slow. */
static void s_judge_for_principal(struct cml_request *twin) {
    struct cml_request *principal = cml_hedge_won(twin);
    cml_request_note(twin, CML_ERR_CANCELLED, 0);
    s_abort(twin, CML_JUDGE, CML_THEN_FAIL);
    cml_dispatch(principal, CML_ON_HEADERS);
}

static void s_judge(struct cml_request *request) {
    int status = request->current.status;
    if (request->principal != NULL && status >= 200 && status <= 299) {
        s_judge_for_principal(request);
        return;
    }
    cml_hedge_answered(request);
    if (status < 500 && status != 429) {
        cml_pace_good(request);
    }
    if (status < 200 || status > 299) {
        s_enter(request, CML_JUDGE, CML_BODY); /* its body says why; s_conclude decides */
        s_check_early_error(request);
        return;
    }
    int error = cml_check_headers(request);
    if (error != CML_OK) {
        cml_request_note(request, error, 0);
        s_abort(request, CML_JUDGE, CML_THEN_RETRY);
        return;
    }
    s_commit(request);
    s_start_checksum(request);
    bool unseen = request->sum.kind == CML_SUM_NONE && !request->current.chunked && cml_socket_is_plain(request);
    cml_request_lock(request);
    request->unseen = unseen;
    pthread_mutex_unlock(&request->lock);
    if (request->sink == CML_SINK_COLLECT && request->current.content_length > 0 && !request->is_head) {
        cml_body_reserve(request, (uint64_t)request->current.content_length); /* a refusal shows when bytes come */
    }
    s_enter(request, CML_JUDGE, CML_BODY);
    s_credit_window(request);
}

/* Skipped bytes do not count: their window was opened again as they came. */
static void s_pause_if_full(struct cml_request *request) {
    bool more_to_come = request->wanted > 0 && (request->current.chunked || request->attempt_received <
                                                                                (uint64_t)request->current.content_length);
    if (request->sink == CML_SINK_STREAM && more_to_come &&
        request->received - request->attempt_base >= CML_SPILL_BYTES + request->window_credited) {
        cml_dispatch(request, CML_ON_FULL);
    }
}

/* Takes off the bytes that nobody asked for, before those that are wanted and after them. */
static void s_cut_out(struct cml_request *request, const uint8_t **data, size_t *length) {
    size_t before = request->skip < *length ? (size_t)request->skip : *length;
    request->skip -= before;
    *data += before;
    *length -= before;
    size_t after = 0;
    if (request->wanted != UINT64_MAX) {
        after = *length > request->wanted ? *length - (size_t)request->wanted : 0;
        *length -= after;
        request->wanted -= *length;
    }
    if (before + after > 0) {
        cml_transport_open_window(request, before + after);
    }
}

/* All that was wanted is here: a short rest comes and is dropped, which keeps the connection; a long one is cut off. */
static void s_stop_if_enough(struct cml_request *request) {
    bool is_known = !request->current.chunked && request->current.content_length >= 0;
    uint64_t rest = is_known ? (uint64_t)request->current.content_length - request->attempt_received : UINT64_MAX;
    if (request->wanted > 0) {
        return;
    }
    if (rest <= CML_SPILL_BYTES) {
        cml_transport_open_window(request, rest); /* whether the consumer has taken what it wanted or not */
        return;
    }
    cml_request_note(request, CML_OK, 0);
    s_abort(request, CML_DELIVER, CML_THEN_FAIL);
}

/* In one breath: after a revoke the memory that the bytes may be in is its owner's. */
static int s_keep(struct cml_request *request, const uint8_t *data, size_t length, bool *filled) {
    int error = CML_ERR_CANCELLED;
    cml_request_lock(request);
    if (!request->revoked) {
        s_sum_up(request, data, length);
        error = cml_body_store(request, data, length, filled);
    }
    pthread_mutex_unlock(&request->lock);
    return error;
}

static void s_deliver(struct cml_request *request, const uint8_t *data, size_t length) {
    request->progress_ns = cml_now_ns();
    request->attempt_received += length;
    if (cml_is_error_status(request)) {
        cml_keep_error_body(request, data, length);
        s_check_early_error(request);
        return;
    }
    s_cut_out(request, &data, &length);
    if (length == 0) {
        return;
    }
    bool filled = false;
    int error = s_keep(request, data, length, &filled);
    if (error != CML_OK) {
        cml_request_note(request, error, 0);
        s_abort(request, CML_DELIVER, CML_THEN_FAIL);
        return;
    }
    if (filled && request->sink == CML_SINK_STREAM && !s_waits_for_end(request)) {
        cml_request_announce(request);
    }
    s_stop_if_enough(request);
    if (request->state != CML_ABORTING) {
        s_pause_if_full(request);
    }
}

void cml_request_on_data(struct cml_request *request, const uint8_t *data, size_t length) {
    if (request->state == CML_BODY || request->state == CML_PAUSED) {
        assert(cml_machine_action(request->state, CML_ON_DATA) == CML_DELIVER);
        s_deliver(request, data, length);
    } else if (request->state != CML_DONE) {
        cml_dispatch(request, CML_ON_DATA);
    }
}

/* ---- actions: the end of an attempt ---- */

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
    s_enter(request, action, CML_BACKOFF);
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
        s_prepare(request, CML_RESUME);
    }
}

static void s_park(struct cml_request *request, enum cml_action action) {
    s_enter(request, action, CML_PARKED);
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

static void s_pause(struct cml_request *request) {
    struct cml_endpoint_shard *home = &request->client->endpoint->shards[request->shard->index];
    s_enter(request, CML_PAUSE, CML_PAUSED);
    if (cml_is_resumable(request)) {
        cml_link_push_back(&home->paused, &request->wait_link);
        cml_endpoint_pump(home); /* somebody may be waiting for just this connection */
    }
}

static void s_open(struct cml_request *request) {
    if (request->state == CML_PAUSED) {
        cml_link_remove(&request->wait_link);
        request->progress_ns = cml_now_ns();
    }
    s_enter(request, CML_OPEN, CML_BODY);
    s_credit_window(request);
    if (request->client->stall_ns != 0) {
        cml_shard_sweep_by(request->shard, request->progress_ns + request->client->stall_ns);
    }
    s_pause_if_full(request); /* this room was known already, and used up since */
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
    if (request->state == CML_QUEUED) {
        s_count_attempt(request); /* one that found no connection */
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
            s_judge(request);
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
            s_abort(request, action, CML_THEN_PARK);
            break;
        case CML_ABORT:
            s_abort(request, action, event == CML_ON_CANCEL || request->pending_error == CML_ERR_TOTAL_TIMEOUT
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
            s_open(request);
            break;
        case CML_PAUSE:
            s_pause(request);
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
