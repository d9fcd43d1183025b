/* The engine's face: what the extension's .pxi files may call. Everything here may be called from any thread without the GIL, and
 * nothing here calls back: news of a request arrives on the queue it was submitted with.
 *
 * Ownership: cml_request_new gives the caller one reference. While a request is on the engine's side the engine holds
 * another, and each announcement on the queue carries one that the drainer gives back with cml_request_release.
 */
#ifndef CML_ENGINE_H
#define CML_ENGINE_H

#include "buffers.h"
#include "cml.h"
#include "machine.h"
#include "queue.h"

/* ---- runtime: one a process, started on first use, forgotten by a forked child ---- */

struct cml_runtime_options {
    uint32_t threads;         /* event loops */
    uint32_t max_connections; /* of the process */
};

int cml_runtime_start(const struct cml_runtime_options *options); /* 0, or an aws error code */
bool cml_runtime_running(void);
uint32_t cml_runtime_threads(void);
uint64_t cml_runtime_connections(void);
/* Refuses new requests, ends those under way and waits at most timeout_ms for that. True if nothing is left. */
bool cml_runtime_quiesce(uint32_t timeout_ms);
/* Once, before anything else: a forked child then starts anew, and what was under way in its parent never ends in it. */
void cml_runtime_watch_forks(void);
uint64_t cml_runtime_generation(void);

/* ---- credentials: snapshots that a refresher publishes and the engine reads ---- */

struct cml_credentials;

/* The queue is told (by the source's own node) when a fresh snapshot is wanted; NULL for static credentials. */
struct cml_credentials *cml_credentials_new(struct cml_queue *wanted, void *user_data);
void cml_credentials_acquire(struct cml_credentials *source);
void cml_credentials_release(struct cml_credentials *source);
void *cml_credentials_user_data_of_node(struct cml_node *node); /* once for each node taken: gives its reference back */
/* access_key may be NULL for anonymous. expires_ms: Unix time in ms, 0 for never; refresh_ms: when to ask anew. */
void cml_credentials_publish(struct cml_credentials *source, const char *access_key, const char *secret,
                             const char *token, uint64_t expires_ms, uint64_t refresh_ms);
void cml_credentials_publish_failure(struct cml_credentials *source, const char *message);
void cml_credentials_invalidate(struct cml_credentials *source);
/* Copies the last failure's message; returns its length. */
size_t cml_credentials_failure(struct cml_credentials *source, char *out, size_t capacity);

/* ---- client: an endpoint, how to sign, how to retry: what a store gives the engine ---- */

struct cml_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* How requests show who sends them, from what `credentials` hold. */
enum cml_auth {
    CML_AUTH_SIGV4,
    CML_AUTH_S3EXPRESS,  /* SigV4 with a session's keys: its token goes into x-amz-s3session-token */
    CML_AUTH_BEARER,     /* the token, as it is */
    CML_AUTH_SHARED_KEY, /* Azure Storage: the account's name and its key in base64 */
    CML_AUTH_QUERY,      /* the token is a query (a SAS) that goes behind each path */
    CML_AUTH_AZURE,      /* as the access key's id says: "-" as BEARER, "?" as QUERY, an account's name as SHARED_KEY */
    CML_AUTH_HEADERS     /* the token is whole headers: lines of "name:value" */
};

struct cml_client_options {
    const char *key;      /* connections are shared by clients of the same key */
    const char *pace_key; /* endpoint and bucket: clients of the same key are throttled together; NULL for key */
    const char *host;
    uint32_t port;
    bool tls;
    bool tls_verify;
    const char *ca_pem; /* replaces the system's trust store when not NULL */
    size_t ca_pem_len;
    const char *proxy_host; /* NULL for none */
    uint32_t proxy_port;
    bool proxy_tls;
    const char *proxy_ca_pem; /* likewise, for the connection to the proxy */
    size_t proxy_ca_pem_len;
    const char *proxy_user;
    const char *proxy_password;
    uint32_t max_connections;
    uint32_t max_idle; /* idle connections kept; UINT32_MAX for as many as there are */
    bool in_order; /* the first address of the host's name that works, not all of them in turn */
    uint32_t connect_timeout_ms;
    uint32_t idle_timeout_ms;
    uint64_t stall_timeout_ms; /* 0 for none */
    uint64_t total_timeout_ms; /* 0 for none */
    bool hedge; /* GETs that are slow to be answered are sent twice: see hedge.c */
    uint32_t max_retries;
    uint64_t retry_timeout_ms;
    uint32_t backoff_init_ms;
    uint32_t backoff_max_ms;
    double backoff_base;
    const char *host_header;
    const struct cml_header *headers; /* sent with every request */
    size_t header_count;
    const char *region;  /* SigV4; NULL to send requests unsigned */
    const char *service;
    bool sign_payload;
    enum cml_auth auth;
    struct cml_credentials *credentials; /* SigV4 credentials, or NULL */
};

struct cml_client;
struct cml_client *cml_client_new(const struct cml_client_options *options); /* NULL: cml_last_crt_error() */
void cml_client_acquire(struct cml_client *client);
void cml_client_release(struct cml_client *client);

struct cml_client_stats {
    uint64_t requests, attempts, retries, errors, throttled, hedges, hedges_won, bytes_received, bytes_sent, connections_opened;
};
void cml_client_stats(struct cml_client *client, struct cml_client_stats *out);

/* What throttling has come to: of a client's reads and writes, with all other clients of its pace_key. */
struct cml_lane_stats {
    uint32_t window;    /* how many may be in flight; 0 for no limit */
    uint32_t in_flight; /* on the wire */
    uint32_t waiting;   /* for their turn */
};
void cml_client_pace(struct cml_client *client, struct cml_lane_stats out[2]); /* [1] for writes */
/* The sums over the process, but for window, which is how many limits there are. */
void cml_runtime_pace(struct cml_lane_stats *out);

/* ---- requests ---- */

struct cml_request;

enum cml_range { CML_RANGE_NONE, CML_RANGE_BOUNDED, CML_RANGE_OFFSET, CML_RANGE_SUFFIX };

enum cml_sink {
    CML_SINK_COLLECT, /* the engine gathers the body, up to a limit */
    CML_SINK_BUFFER,  /* into room given before submission; the body has to fit */
    CML_SINK_STREAM   /* into room given as the consumer wishes; reading stops where there is none */
};

enum cml_flags {
    CML_FLAG_ANNOUNCE_HEADERS = 1,   /* tell the queue when the headers are there, not only at the end */
    CML_FLAG_ERROR_IN_200 = 2,       /* S3 answers copy and complete with 200 and an <Error> */
    CML_FLAG_VERIFY = 4,             /* check the body against a checksum the server sent */
    CML_FLAG_UNSIGNED = 8,           /* do not sign although the client does */
    CML_FLAG_CLEAN_UP = 16,          /* an exit waits for it a little: it takes back what was begun at a server */
    CML_FLAG_CUT = 32,               /* a range may be cut out of the whole object, where a server knows no Range */
    CML_FLAG_WHOLE = 64,             /* with ANNOUNCE_HEADERS: not of a body that is fetched unasked, only of its end */
    CML_FLAG_NAMES = 128             /* only its answer names what it has made: past its time that is waited for a little */
};

/* path: what follows the authority, percent-encoded, query included. method: a token. Both are copied. */
struct cml_request *cml_request_new(struct cml_client *client, const char *method, const char *path, size_t path_len);
void cml_request_add_header(struct cml_request *request, const char *name, size_t name_len, const char *value,
                            size_t value_len);
void cml_request_set_range(struct cml_request *request, enum cml_range kind, uint64_t start, uint64_t end);
void cml_request_set_flags(struct cml_request *request, uint32_t flags);
void cml_request_add_flags(struct cml_request *request, uint32_t flags);
void cml_request_set_timeout(struct cml_request *request, uint64_t total_ms);
struct cml_bytes {
    const uint8_t *data;
    size_t length;
};
/* The memory (of all spans, in order) or descriptor stays the caller's and must live until the request has ended. */
bool cml_request_set_body_memory(struct cml_request *request, const struct cml_bytes *spans, uint32_t count);
void cml_request_set_body_file(struct cml_request *request, int fd, uint64_t offset, uint64_t length);
/* What the body's signature is made of, where it is part of one, is otherwise summed up on the loop at each attempt. */
bool cml_request_signs_payload(const struct cml_request *request);
bool cml_request_set_payload_sha256(struct cml_request *request, const char *hex);
void cml_request_set_sink(struct cml_request *request, enum cml_sink sink, uint64_t collect_limit);
void cml_request_set_user_data(struct cml_request *request, void *user_data);
void *cml_request_user_data(const struct cml_request *request);

void cml_request_submit(struct cml_request *request, struct cml_queue *queue);
/* The same and cml_queue_wait in one, which lets this thread do the loop's work while it is the only one with any. */
bool cml_request_submit_and_wait(struct cml_request *request, struct cml_queue *queue, int timeout_ms);
void cml_request_acquire(struct cml_request *request);
void cml_request_release(struct cml_request *request);
/* What take_all gave: a note of a request, with a reference for the caller. NULL for a note gone stale.
 * last: this is the news of the end, and no other will come. */
struct cml_request *cml_request_of_node(struct cml_node *node, bool *last);
/* News goes there from now on; notes on the old queue go stale. False if the request has ended: no news will come.
 * To be called for all requests of a queue that nobody is going to drain any more. */
bool cml_request_retarget(struct cml_request *request, struct cml_queue *queue);

/* Before any room is given: how many pieces of room may be waiting at a time, when four are not enough. */
bool cml_request_reserve_pieces(struct cml_request *request, uint32_t pieces);
/* Room for body bytes: false when there are as many pieces as may be. No data means bytes that nobody wants. */
bool cml_request_feed(struct cml_request *request, void *data, size_t capacity);
/* The same in a file: of the body, `length` bytes at most go to `fd` from `offset` on, written by threads that may wait
 * for a disk; four such pieces at most. Before submission or after; then the request has not ended, or no longer has,
 * until all is written. The descriptor stays the caller's. */
enum cml_fed {
    CML_FED_REFUSED, /* there is room in memory, or too much in files */
    CML_FED,
    CML_FED_AGAIN /* it had ended and is under way again: there will be news of the end once more */
};
enum cml_fed cml_request_feed_file(struct cml_request *request, int fd, uint64_t offset, uint64_t length);
/* From its return on the engine touches neither destination nor source of the caller: it waits for a write under way. */
void cml_request_revoke(struct cml_request *request);
void cml_request_cancel(struct cml_request *request); /* revokes, and stops the transfer */

struct cml_progress {
    bool headers_ready;
    bool finished;
    int error;            /* enum cml_error, once finished */
    int crt_error;        /* aws error code behind it, or 0 */
    int os_error;         /* errno behind CML_ERR_FILE */
    uint32_t attempts;
    bool in_doubt;        /* an attempt before the last may have been carried out, although it was not answered so */
    uint64_t pieces_done; /* pieces of room that are full, or that hold the last bytes */
    uint64_t delivered;   /* body bytes in the room given, in order */
    uint64_t waiting;     /* body bytes received that have no room yet */
};
void cml_request_progress(struct cml_request *request, struct cml_progress *out);
/* The same pieces_done and delivered, and the consumer will use what they count: until it says so, or the end has come,
 * pieces that are full may become room again, for another attempt from the first byte on. */
uint64_t cml_request_claim(struct cml_request *request, uint64_t *delivered);

struct cml_response_view {
    int status;
    const char *headers; /* name NUL value NUL ... */
    size_t headers_len;
    int64_t content_length; /* of the body to come; -1 unknown */
    bool has_range;
    uint64_t range_start, range_end, total;
};
/* Valid once headers_ready or finished, until the request is released. The response the caller's data comes from. */
void cml_request_response(struct cml_request *request, struct cml_response_view *out);
/* The last response, and the start of its body when it was an error. */
void cml_request_failure(struct cml_request *request, struct cml_response_view *out, const char **body, size_t *len);
/* Once headers_ready: where the whole body of a STREAM request goes that is short enough to be fetched unasked; the
 * caller gets a reference and must not feed. NULL when it is for the consumer to give room. */
struct cml_buffer *cml_request_prefetched(struct cml_request *request);
/* Of such a body the consumer will use the bytes before `at`, from one call to the next no fewer: 0 where they are here.
 * Else there is news when they are, or the end has come: then so many pieces are done, and it is to be asked again. */
uint64_t cml_request_claim_before(struct cml_request *request, uint64_t at);
/* The gathered body of a COLLECT request; the caller gets a reference, or NULL. */
struct cml_buffer *cml_request_take_body(struct cml_request *request);

/* CRCs of bodies that are fetched in parts: "CRC64NVME", "CRC32C" or "CRC32" (false for others). Before submission. */
bool cml_request_set_digest(struct cml_request *request, const char *algorithm);
/* The digest is to be of the body's bytes before `offset`. Before submission. */
void cml_request_mark_digest(struct cml_request *request, uint64_t offset);
uint64_t cml_request_digest(const struct cml_request *request); /* once the bytes it covers are in the room given */
/* The checksum that came with the response: its algorithm and value, or NULL. Once headers_ready. */
const char *cml_request_announced_checksum(const struct cml_request *request, const char **base64);
/* Of two adjoining spans. */
uint64_t cml_digest_combine(const char *algorithm, uint64_t first, uint64_t second, uint64_t second_length);

/* "CRC64NVME", "CRC32C", "CRC32" or "SHA256", as the bytes that S3's headers hold in base64. NULL if unknown; end frees it. */
struct cml_sum *cml_checksum_begin(const char *algorithm);
void cml_checksum_add(struct cml_sum *sum, const void *data, size_t length);
size_t cml_checksum_end(struct cml_sum *sum, uint8_t out[64]);

/* ---- bulk: a request that aws-c-s3 carries out as many (bulk.h) ---- */

enum cml_bulk_job {
    CML_BULK_GET,        /* a bounded range into the room fed before submission */
    CML_BULK_GET_FILE,   /* a bounded range into the file fed before submission */
    CML_BULK_PUT,        /* the body, as a multipart upload */
    CML_BULK_PUT_FILE,   /* a whole file by its name */
    CML_BULK_PUT_WRITES, /* what cml_request_write brings */
    CML_BULK_COPY
};

struct cml_bulk_options {
    enum cml_bulk_job job;
    uint64_t part_bytes;
    uint32_t max_concurrency; /* connections */
    bool foreign_memory;      /* GET: a cancel waits until nothing writes there any more */
    const char *file;         /* PUT_FILE */
    const char *checksum;     /* an algorithm: what is sent with each part, or that of `expected`; NULL for none */
    const char *expected;     /* GET: what the bytes asked for must come to, in base64 */
    const char *copy_source;  /* COPY: the source's URI */
};

bool cml_request_set_bulk(struct cml_request *request, const struct cml_bulk_options *options);
bool cml_client_can_bulk(const struct cml_client *client); /* false where only the engine does what the options ask */
bool cml_client_bulk_is_ready(struct cml_client *client);
int cml_client_prepare_bulk(struct cml_client *client); /* may block for a second; 0, or an aws error code */

#define CML_WRITE_LATER (-1)  /* pieces_done will grow when it is time to try again */
#define CML_WRITE_FAILED (-2) /* the request is about to end */
int64_t cml_request_write(struct cml_request *request, const void *data, size_t length, bool end); /* bytes taken */

int cml_last_crt_error(void);

#endif
