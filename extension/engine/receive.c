/* Receiving: the actions by which a request takes in its response, from its headers to its last byte: judge, deliver,
 * pause, open. request.c has the others and calls these; transport.c hands over the bytes, which go where body.c says.
 *
 * All of it on the loop's thread.
 */
#include "pace.h"

#include <assert.h>

/* ---- headers ---- */

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
        struct cml_response *told = &request->response;
        if (told->has_range && (told->status == 206 || request->wanted != UINT64_MAX)) {
            /* That many come, be it cut out of more, in chunks, or by several attempts, if the first has less. */
            told->content_length = (int64_t)(told->range_end - told->range_start);
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
        cml_request_abort(request, CML_DELIVER, CML_THEN_RETRY);
    }
}

/* The twin's answer is the one: its principal goes on with it, and the twin ends with what was slow. */
static void s_judge_for_principal(struct cml_request *twin) {
    struct cml_request *principal = cml_hedge_won(twin);
    cml_request_note(twin, CML_ERR_CANCELLED, 0);
    cml_request_abort(twin, CML_JUDGE, CML_THEN_FAIL);
    cml_dispatch(principal, CML_ON_HEADERS);
}

void cml_receive_judge(struct cml_request *request) {
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
        cml_request_enter(request, CML_JUDGE, CML_BODY); /* its body says why; what comes of it, its end decides */
        s_check_early_error(request);
        return;
    }
    int error = cml_check_headers(request);
    if (error != CML_OK) {
        cml_request_note(request, error, 0);
        cml_request_abort(request, CML_JUDGE, CML_THEN_RETRY);
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
    cml_request_enter(request, CML_JUDGE, CML_BODY);
    s_credit_window(request);
}

/* ---- bytes ---- */

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
    cml_request_abort(request, CML_DELIVER, CML_THEN_FAIL);
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

/* Skipped bytes do not count: their window was opened again as they came. */
static void s_pause_if_full(struct cml_request *request) {
    bool more_to_come = request->wanted > 0 && (request->current.chunked || request->attempt_received <
                                                                                (uint64_t)request->current.content_length);
    if (request->sink == CML_SINK_STREAM && more_to_come &&
        request->received - request->attempt_base >= CML_SPILL_BYTES + request->window_credited) {
        cml_dispatch(request, CML_ON_FULL);
    }
}

static void s_deliver(struct cml_request *request, const uint8_t *data, size_t length) {
    request->progress_ns = cml_now_ns();
    request->attempt_received += length;
    if (cml_is_error_status(request)) {
        cml_keep_error_body(request, data, length);
        s_check_early_error(request);
        return;
    }
    if (cml_is_behind_part(request)) {
        cml_request_note(request, CML_ERR_WRONG_RANGE, 0); /* it came in chunks: the headers did not say so */
        cml_request_abort(request, CML_DELIVER, CML_THEN_FAIL);
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
        cml_request_abort(request, CML_DELIVER, CML_THEN_FAIL);
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

/* ---- room ---- */

void cml_receive_pause(struct cml_request *request) {
    struct cml_endpoint_shard *home = &request->client->endpoint->shards[request->shard->index];
    cml_request_enter(request, CML_PAUSE, CML_PAUSED);
    if (cml_is_resumable(request) || cml_body_is_untouched(request)) {
        cml_link_push_back(&home->paused, &request->wait_link);
        cml_endpoint_pump(home); /* somebody may be waiting for just this connection */
    }
}

void cml_receive_open(struct cml_request *request) {
    if (request->state == CML_PAUSED) {
        cml_link_remove(&request->wait_link);
        request->progress_ns = request->trying_since_ns = cml_now_ns();
    }
    cml_request_enter(request, CML_OPEN, CML_BODY);
    s_credit_window(request);
    if (request->client->stall_ns != 0) {
        cml_shard_sweep_by(request->shard, request->progress_ns + request->client->stall_ns);
    }
    if (request->prefetched != NULL) {
        cml_socket_await_less(request);
    }
    s_pause_if_full(request); /* this room was known already, and used up since */
}
