/* Hedging: a second GET when the first is slow to answer, for clients that ask for it.
 *
 * An endpoint's shard keeps a histogram of the time from sending to the headers. When a GET has waited for longer than the
 * 95th percentile, a twin of it is sent, on a connection of its own. Whichever gets an answer first goes on; the other is
 * cancelled on the wire. At most one twin for 20 requests is sent, and none before there are 50 samples.
 *
 * Law: a twin has no memory but what holds headers and errors. When it wins it gives its stream to its principal, by
 * exchanging what the two wires point to, before a byte of the body was delivered; so the body goes where it always
 * goes, and nothing but the principal's one stream ever writes there. A twin lives only while its principal waits in SENT.
 *
 * All of it on the shard's loop.
 */
#include "pace.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 128          /* four for each doubling, from a microsecond on: to within a fifth */
#define LEAST_SAMPLES 50
#define MOST_SAMPLES 1024    /* then all are halved: what is long ago counts less and less */
#define SHARE 0.05           /* of requests that may have a twin */
#define MOST_TOKENS 10.0     /* twins that a quiet time saves up for */

struct cml_hedging {
    uint32_t counts[BUCKETS];
    uint32_t total;
    double tokens;
};

/* ---- how long answers take ---- */

static unsigned s_bucket(uint64_t ns) {
    uint64_t us = ns / 1000;
    if (us < 4) {
        return (unsigned)us;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(us);
    unsigned bucket = power * 4 + (unsigned)((us >> (power - 2)) & 3) - 4;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* Where the bucket ends. */
static uint64_t s_limit_ns(unsigned bucket) {
    if (bucket < 4) {
        return (uint64_t)(bucket + 1) * 1000;
    }
    unsigned power = (bucket + 4) / 4, quarter = (bucket + 4) % 4;
    return ((uint64_t)(5 + quarter) << (power - 2)) * 1000;
}

static void s_add(struct cml_hedging *hedging, uint64_t ns) {
    hedging->counts[s_bucket(ns)]++;
    if (++hedging->total >= MOST_SAMPLES) {
        hedging->total = 0;
        for (unsigned i = 0; i < BUCKETS; ++i) {
            hedging->counts[i] /= 2;
            hedging->total += hedging->counts[i];
        }
    }
}

/* UINT64_MAX while too little is known. */
static uint64_t s_p95_ns(const struct cml_hedging *hedging) {
    if (hedging->total < LEAST_SAMPLES) {
        return UINT64_MAX;
    }
    uint32_t above = 0;
    unsigned bucket = BUCKETS - 1;
    while (bucket > 0 && (above += hedging->counts[bucket]) * 20 < hedging->total) {
        --bucket;
    }
    return s_limit_ns(bucket);
}

/* ---- the principal ---- */

static struct cml_endpoint_shard *s_home(const struct cml_request *request) {
    return &request->client->endpoint->shards[request->shard->index];
}

static bool s_may_have_twin(const struct cml_request *request) {
    return request->sink != CML_SINK_COLLECT && strcmp(request->method, "GET") == 0 && !request->is_twin;
}

void cml_hedge_sent(struct cml_request *request) {
    if (!request->client->hedge) {
        return;
    }
    request->sent_ns = request->progress_ns;
    struct cml_endpoint_shard *home = s_home(request);
    if (home->hedging == NULL) {
        home->hedging = calloc(1, sizeof(*home->hedging));
    }
    struct cml_hedging *hedging = home->hedging;
    if (hedging == NULL || !s_may_have_twin(request)) {
        return;
    }
    if (request->attempts == 1) {
        hedging->tokens = hedging->tokens + SHARE < MOST_TOKENS ? hedging->tokens + SHARE : MOST_TOKENS;
    }
    uint64_t p95 = s_p95_ns(hedging);
    if (p95 != UINT64_MAX && request->received == 0) { /* the rest of a body is pinned to what it began with */
        request->hedge_at_ns = request->sent_ns + p95;
        cml_shard_sweep_by(request->shard, request->hedge_at_ns);
    }
}

void cml_hedge_answered(struct cml_request *request) {
    if (request->client->hedge && s_may_have_twin(request) && s_home(request)->hedging != NULL) {
        s_add(s_home(request)->hedging, cml_now_ns() - request->sent_ns);
    }
}

static struct cml_request *s_clone(const struct cml_request *request) {
    struct cml_request *twin = cml_request_new(request->client, request->method, request->arena, request->path_len);
    if (twin == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < request->header_count; ++i) {
        const struct cml_header_at *at = &request->headers[i];
        cml_request_add_header(twin, request->arena + at->name, at->name_len, request->arena + at->value, at->value_len);
    }
    cml_request_set_range(twin, request->range, request->range_from, request->range_to);
    cml_request_set_sink(twin, request->sink, 0);
    cml_request_set_flags(twin, request->flags & (CML_FLAG_UNSIGNED | CML_FLAG_CUT));
    twin->total_ns = request->total_ns;
    twin->shard = request->shard;
    twin->is_twin = true;
    return twin;
}

void cml_hedge_launch(struct cml_request *request) {
    struct cml_hedging *hedging = s_home(request)->hedging;
    request->hedge_at_ns = 0;
    if (request->twin != NULL || hedging->tokens < 1 || cml_pace_is_short(request)) {
        return;
    }
    struct cml_request *twin = s_clone(request);
    if (twin == NULL) {
        return;
    }
    hedging->tokens -= 1;
    atomic_fetch_add_explicit(&request->client->hedges, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&twin->shard->in_flight, 1, memory_order_relaxed);
    twin->started_ns = cml_now_ns();
    twin->principal = request;
    request->twin = twin;      /* with the reference of its making; twin: s_part */
    cml_request_acquire(twin); /* the engine's; twin: cml_request_conclude */
    cml_dispatch(twin, CML_ON_SUBMIT);
}

/* ---- parting ---- */

static void s_part(struct cml_request *twin) {
    twin->principal->twin = NULL;
    twin->principal = NULL;
    cml_request_release(twin);
}

void cml_hedge_drop(struct cml_request *request) {
    struct cml_request *twin = request->twin;
    cml_request_acquire(twin);
    s_part(twin);
    cml_dispatch(twin, CML_ON_CANCEL);
    cml_request_release(twin);
}

void cml_hedge_ended(struct cml_request *twin) {
    if (twin->principal != NULL) {
        s_part(twin);
    }
}

#define SWAP(type, a, b)                                                                                               \
    do {                                                                                                               \
        type swap = (a);                                                                                               \
        (a) = (b);                                                                                                     \
        (b) = swap;                                                                                                    \
    } while (0)

struct cml_request *cml_hedge_won(struct cml_request *twin) {
    struct cml_request *request = twin->principal;
    /* How long it would have taken is not known, but longer than this: without it only quick answers would count. */
    s_add(s_home(request)->hedging, cml_now_ns() - request->sent_ns);
    atomic_fetch_add_explicit(&request->client->hedges_won, 1, memory_order_relaxed);
    s_part(twin);
    SWAP(struct cml_wire *, twin->wire, request->wire);
    twin->wire->owner = twin;
    request->wire->owner = request;
    SWAP(struct aws_http_stream *, twin->stream, request->stream);
    SWAP(struct cml_connection *, twin->connection, request->connection);
    twin->connection->current = twin;
    request->connection->current = request;
    SWAP(struct cml_response, twin->current, request->current);
    SWAP(bool, twin->got_headers, request->got_headers);
    SWAP(bool, twin->reused_connection, request->reused_connection);
    SWAP(uint64_t, twin->signed_with, request->signed_with);
    SWAP(uint64_t, twin->sent_ns, request->sent_ns);
    SWAP(uint64_t, twin->progress_ns, request->progress_ns);
    return request;
}
