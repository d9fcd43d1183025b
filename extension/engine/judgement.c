/* What a response is worth: is it the answer to what was asked, is it whole, would another attempt help. Loop thread.
 * Decides; request.c and receive.c act.
 */
#include "internal.h"

#include <aws/io/io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FREE_RETRIES 8 /* on connections that were dead when taken from the pool */
#define HANDSHAKE_RETRIES 2 /* when the server closes instead of shaking hands, and never has: most often a plain port */
#define DNS_RETRIES 2  /* while the host has never been found */

bool cml_signs(const struct cml_request *request) {
    return request->client->credentials != NULL && !(request->flags & CML_FLAG_UNSIGNED);
}

bool cml_is_error_status(const struct cml_request *request) {
    return request->current.status < 200 || request->current.status > 299;
}

void cml_keep_error_body(struct cml_request *request, const uint8_t *data, size_t length) {
    if (request->error_body == NULL) {
        request->error_body = malloc(CML_ERROR_BODY_BYTES);
    }
    size_t room = CML_ERROR_BODY_BYTES - request->error_len;
    size_t take = length < room ? length : room;
    if (request->error_body != NULL && take > 0) {
        memcpy(request->error_body + request->error_len, data, take);
        request->error_len += take;
    }
    cml_transport_open_window(request, length);
}

/* ---- ranges ---- */

bool cml_is_resumable(const struct cml_request *request) {
    return request->committed && request->sink != CML_SINK_COLLECT &&
           cml_etag_is_strong(cml_response_etag(&request->response)) &&
           (request->response.has_range || request->response.content_length >= 0);
}

/* Absolute bounds of what the first response promised. */
static void s_bounds(const struct cml_response *response, uint64_t *start, uint64_t *end) {
    *start = response->has_range ? response->range_start : 0;
    *end = response->has_range ? response->range_end : (uint64_t)response->content_length;
}

bool cml_request_attempt_range(const struct cml_request *request, char out[64]) {
    if (request->received > 0 && request->committed) {
        uint64_t start, end;
        s_bounds(&request->response, &start, &end);
        snprintf(out, 64, "bytes=%llu-%llu", (unsigned long long)(start + request->received),
                 (unsigned long long)(end - 1));
        return true;
    }
    switch (request->range) {
        case CML_RANGE_BOUNDED:
            snprintf(out, 64, "bytes=%llu-%llu", (unsigned long long)request->range_from,
                     (unsigned long long)(request->range_to - 1));
            return true;
        case CML_RANGE_OFFSET:
            snprintf(out, 64, "bytes=%llu-", (unsigned long long)request->range_from);
            return true;
        case CML_RANGE_SUFFIX:
            snprintf(out, 64, "bytes=-%llu", (unsigned long long)request->range_to);
            return true;
        default:
            return false;
    }
}

static uint64_t s_min(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static bool s_has_no_body(const struct cml_request *request) {
    int status = request->current.status;
    return request->is_head || status == 204 || status == 304;
}

/* Whether a fresh response to a range request holds just the bytes asked for, as far as the object has them. */
static bool s_range_is_right(const struct cml_request *request, const struct cml_response *got) {
    if (!got->has_range || s_has_no_body(request)) {
        return false;
    }
    switch (request->range) {
        case CML_RANGE_BOUNDED:
            return got->range_start == request->range_from && got->range_end == s_min(request->range_to, got->total);
        case CML_RANGE_OFFSET:
            return got->range_start == request->range_from && got->range_end == got->total;
        case CML_RANGE_SUFFIX:
            return got->range_end == got->total && got->range_start == got->total - s_min(request->range_to, got->total);
        default:
            return true;
    }
}

static bool s_is_another_object(const struct cml_request *request) {
    const char *was = cml_response_etag(&request->response), *is = cml_response_etag(&request->current);
    return was != NULL && is != NULL && strcmp(was, is) != 0;
}

/* Between two answers to the same request. */
static bool s_is_of_another_size(const struct cml_request *request) {
    const struct cml_response *was = &request->response, *is = &request->current;
    if (was->has_range && is->has_range) { /* one of the two may be cut out of a whole object */
        return was->total != is->total || was->range_end - was->range_start != is->range_end - is->range_start;
    }
    return was->content_length != is->content_length || was->has_range != is->has_range || was->total != is->total;
}

static int s_check_resumed(struct cml_request *request) {
    const struct cml_response *first = &request->response, *got = &request->current;
    if (s_is_another_object(request)) {
        return CML_ERR_CHANGED;
    }
    uint64_t start, end;
    s_bounds(first, &start, &end);
    if (got->status == 206 && got->has_range) {
        bool right = got->range_start == start + request->received && got->range_end == end;
        return right && (!first->has_range || got->total == first->total) ? CML_OK : CML_ERR_WRONG_RANGE;
    }
    /* A server that ignores Range sends all of it again: what is known already is skipped. */
    if (got->status == 200 && got->content_length >= 0 && (uint64_t)got->content_length >= end) {
        request->skip = start + request->received;
        request->wanted = end - request->skip;
        return CML_OK;
    }
    return CML_ERR_WRONG_RANGE;
}

/* A server that knows no Range (RFC 9110 14.2 lets it ignore the header) sends the whole object: what was asked for is
 * cut out of it, and the response is as if it had sent just that. */
static int s_cut(struct cml_request *request) {
    struct cml_response *got = &request->current;
    uint64_t total = (uint64_t)got->content_length, start = request->range_from, end = total;
    if (request->range == CML_RANGE_BOUNDED) {
        end = s_min(request->range_to, total);
    } else if (request->range == CML_RANGE_SUFFIX) {
        start = total - s_min(request->range_to, total);
    }
    if (start >= total) {
        return CML_ERR_BEHIND_END;
    }
    got->has_range = true;
    got->range_start = start;
    got->range_end = end;
    got->total = total;
    request->skip = start;
    request->wanted = end - start;
    return CML_OK;
}

/* The same where the object's length shows at its end only. A stream is left whole: who reads it sees that by the
 * status, and that there is no range. */
static int s_cut_chunked(struct cml_request *request) {
    if (request->sink == CML_SINK_STREAM) {
        return CML_OK;
    }
    if (request->range != CML_RANGE_BOUNDED) {
        return CML_ERR_WRONG_RANGE;
    }
    request->skip = request->range_from;
    request->wanted = request->range_to - request->range_from;
    return CML_OK;
}

static int s_check_range(struct cml_request *request) {
    const struct cml_response *got = &request->current;
    if (s_range_is_right(request, got)) {
        return CML_OK;
    }
    if (got->status == 200 && (request->flags & CML_FLAG_CUT)) {
        return got->chunked ? s_cut_chunked(request) : s_cut(request);
    }
    return CML_ERR_WRONG_RANGE;
}

/* How long the body of a part is by its Content-Range; UINT64_MAX for what is no part. */
static uint64_t s_part_length(const struct cml_response *got) {
    return got->status == 206 && got->has_range ? got->range_end - got->range_start : UINT64_MAX;
}

bool cml_is_behind_part(const struct cml_request *request) {
    return request->attempt_received > s_part_length(&request->current);
}

int cml_check_headers(struct cml_request *request) {
    struct cml_response *got = &request->current;
    if (request->is_head) {
        return CML_OK;
    }
    if (!s_has_no_body(request)) {
        if (!got->chunked && got->content_length < 0) {
            return CML_ERR_NO_LENGTH;
        }
        if (got->bad_length || (got->chunked && got->content_length >= 0)) {
            return CML_ERR_PROTOCOL;
        }
        if (got->content_length >= 0 && (uint64_t)got->content_length > s_part_length(got)) {
            return CML_ERR_WRONG_RANGE; /* nobody would have room for the rest, and so never see its end */
        }
    }
    if (request->committed && request->received > 0) {
        return s_check_resumed(request);
    }
    int error = request->range != CML_RANGE_NONE ? s_check_range(request)
                : got->status == 206             ? CML_ERR_WRONG_RANGE
                                                 : CML_OK;
    if (request->committed && (s_is_another_object(request) || s_is_of_another_size(request))) {
        return CML_ERR_CHANGED; /* the consumer has seen the headers of the first */
    }
    return error;
}

/* ---- the end of an attempt ---- */

static int s_error_of_length(const struct cml_request *request) {
    const struct cml_response *got = &request->current;
    uint64_t part = s_part_length(got); /* however it is framed */
    if (s_has_no_body(request) || (got->chunked && part == UINT64_MAX)) {
        return CML_OK;
    }
    uint64_t expected = part != UINT64_MAX ? part : (uint64_t)got->content_length;
    if (request->attempt_received == expected) {
        return CML_OK;
    }
    return request->attempt_received < expected ? CML_ERR_TRUNCATED : CML_ERR_PROTOCOL;
}

static bool s_says_error_in_200(struct cml_request *request) {
    struct cml_buffer *body = request->collected;
    if (!(request->flags & CML_FLAG_ERROR_IN_200) || body == NULL) {
        return false;
    }
    size_t length = body->length < CML_ERROR_BODY_BYTES ? body->length : CML_ERROR_BODY_BYTES;
    for (size_t i = 0; i + 7 <= length; ++i) {
        if (memcmp(body->data + i, "<Error>", 7) == 0 || memcmp(body->data + i, "<Error ", 7) == 0) {
            cml_keep_error_body(request, body->data, length);
            return true;
        }
    }
    return false;
}

int cml_check_end(struct cml_request *request) {
    if (cml_is_error_status(request)) {
        return CML_ERR_STATUS;
    }
    int error = s_error_of_length(request);
    if (error != CML_OK) {
        return error;
    }
    if (request->wanted != UINT64_MAX && request->wanted > 0 && request->received == 0) {
        return CML_ERR_BEHIND_END; /* the whole object came, and did not reach so far */
    }
    if (s_says_error_in_200(request)) {
        return CML_ERR_STATUS;
    }
    if (request->sum_whole &&
        !cml_sum_matches(&request->sum, request->response.checksum_text)) {
        return CML_ERR_CHECKSUM;
    }
    return CML_OK;
}

static bool s_auth_may_heal(struct cml_request *request) {
    const struct cml_response *got = &request->current;
    if ((got->status != 401 && got->status != 403 && got->status != 400) || !cml_signs(request) ||
        request->auth_retries > 0) {
        return false;
    }
    if (cml_body_has_code(request->error_body, request->error_len, "RequestTimeTooSkewed")) {
        long long now = (long long)time(NULL);
        atomic_store(&request->client->endpoint->clock_skew_s, got->date_s != 0 ? got->date_s - now : 0);
        return got->date_s != 0;
    }
    bool about_credentials = got->status != 400 ||
                             cml_body_has_code(request->error_body, request->error_len, "ExpiredToken");
    return about_credentials && cml_credentials_reject(request->client->credentials, request->signed_with);
}

/* The name server failed, which is not to say that there is no such host; and the CRT's resolver says the same for a
 * moment when the only address it knows has refused connections for its time to live. */
static bool s_name_may_resolve(const struct cml_request *request) {
    if (request->pending_crt != AWS_IO_DNS_QUERY_FAILED && request->pending_crt != AWS_IO_DNS_QUERY_AGAIN) {
        return false;
    }
    return atomic_load_explicit(&request->client->endpoint->found, memory_order_relaxed) ||
           request->failures < DNS_RETRIES;
}

/* The time in which an upload got on is none of retries: a slow one is tried again although it took longer than those
 * may. How often is counted all the same, since each sends all of it. */
static void s_forgive_sending(struct cml_request *request) {
    request->trying_since_ns += request->sent_till_ns - request->sending_since_ns;
    request->sending_since_ns = request->sent_till_ns; /* once: the next may not even find a connection */
}

/* An attempt that has brought a good deal of the body is no failure in a row, however long it took. Stalls are counted
 * all the same: each costs its whole time. */
void cml_forgive(struct cml_request *request) {
    if (request->received < request->attempt_base + CML_SPILL_BYTES || !cml_is_resumable(request)) {
        return;
    }
    request->attempt_base = request->received; /* once: the next may not even find a connection */
    request->trying_since_ns = request->progress_ns;
    if (request->pending_error != CML_ERR_STALL_TIMEOUT) {
        request->failures = 0;
    }
}

/* Whether another attempt may help, and how long to wait before it. */
bool cml_may_retry(struct cml_request *request, uint64_t *wait_ns) {
    struct cml_client *client = request->client;
    int error = request->pending_error;
    *wait_ns = 0;
    if (request->is_twin || atomic_load_explicit(&cml_runtime->closing, memory_order_relaxed) || error == CML_ERR_CANCELLED ||
        request->overdue) {
        return false;
    }
    if (error == CML_ERR_RESET && !request->got_headers && request->reused_connection &&
        request->free_retries < FREE_RETRIES) {
        request->free_retries++; /* the server had closed it before it saw the request */
        return true;
    }
    if (error == CML_ERR_STATUS && s_auth_may_heal(request)) {
        request->auth_retries++;
        return true;
    }
    if (error == CML_ERR_CHECKSUM) {
        return request->checksum_retries++ == 0;
    }
    if ((error == CML_ERR_WRONG_RANGE || error == CML_ERR_NO_LENGTH) && request->wrong_answers++ > 0) {
        return false; /* said twice: it is how this server answers */
    }
    if (request->body_length > 0) {
        s_forgive_sending(request);
    }
    cml_forgive(request);
    bool heals = error == CML_ERR_STATUS
                     ? cml_status_is_retryable(&request->current, request->error_body, request->error_len)
                     : cml_error_is_retryable(error);
    if (error == CML_ERR_DNS) {
        heals = s_name_may_resolve(request);
    } else if (error == CML_ERR_TLS && request->pending_crt == AWS_IO_SOCKET_CLOSED) {
        heals = request->handshake_retries++ < HANDSHAKE_RETRIES;
    }
    /* The wait for a first turn is no retry, nor is one for the consumer. */
    uint64_t elapsed = cml_now_ns() - (request->trying_since_ns != 0 ? request->trying_since_ns : request->started_ns);
    int32_t retry_after = error == CML_ERR_STATUS ? request->current.retry_after_s : -1;
    *wait_ns = cml_backoff_ns(client, request->failures, retry_after);
    heals = heals && request->failures < client->max_retries && elapsed + *wait_ns <= client->retry_timeout_ns;
    request->failures++;
    return heals;
}

/* Only a server that says so has certainly not done what it was asked: by a status of its own before doing anything, not
 * one of a failure on the way (500, 502, 504) or behind a 200. */
bool cml_may_be_done(const struct cml_request *request) {
    int status = request->current.status;
    switch (request->pending_error) {
        case CML_ERR_STATUS:
            return status < 300 || (status >= 500 && status != 501 && status != 503 && status != 505);
        case CML_ERR_CONNECT:
        case CML_ERR_CONNECT_TIMEOUT:
        case CML_ERR_DNS:
        case CML_ERR_TLS:
        case CML_ERR_PROXY:
        case CML_ERR_RESOURCES:
            return false;
        default:
            return true;
    }
}

/* What was received may be kept and gone on from, or thrown away while nobody has seen it; else there is no retry. */
bool cml_can_go_on(struct cml_request *request) {
    if (request->received == 0 || (cml_is_resumable(request) && request->pending_error != CML_ERR_CHECKSUM)) {
        return true;
    }
    return cml_body_restart(request);
}

bool cml_all_is_here(const struct cml_request *request) {
    if (!cml_is_resumable(request) || request->received == 0 || request->sum_whole) {
        return false;
    }
    uint64_t start, end;
    s_bounds(&request->response, &start, &end);
    return request->received == end - start && !cml_is_error_status(request);
}

