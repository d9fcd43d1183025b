/* Structures that the engine's own files share. The comment on each group of fields says who may touch it. */
#ifndef CML_INTERNAL_H
#define CML_INTERNAL_H

#include "disk.h"
#include "engine.h"

#include <aws/auth/credentials.h>
#include <aws/common/task_scheduler.h>
#include <aws/http/connection.h>
#include <aws/http/request_response.h>
#include <aws/io/channel_bootstrap.h>
#include <aws/io/event_loop.h>
#include <aws/io/tls_channel_handler.h>
#include <pthread.h>

#define CML_MAX_SHARDS 64
#define CML_PIECES 4
#define CML_TLS_WRITE_BYTES ((size_t)64 << 10) /* of a body that are encrypted at a time; s2n copies them, and aws-c-io again */
#define CML_MESSAGE_BYTES ((size_t)256 << 10) /* the most that comes from a connection at a time */
#define CML_SPILL_BYTES ((size_t)64 << 10)   /* the window of a stream before its consumer gives room */
#define CML_READ_BUFFER_BYTES ((size_t)256 << 10)
#define CML_PREFETCH_BYTES ((uint64_t)4 << 20) /* bodies up to this are fetched whole before anybody asks for them */
#define CML_ERROR_BODY_BYTES ((size_t)64 << 10)
#define CML_HEADER_BYTES ((size_t)256 << 10) /* all headers of a response together */

/* ---- intrusive doubly linked list; a node that is in no list points to itself ---- */
struct cml_link {
    struct cml_link *prev, *next;
};
static inline void cml_link_init(struct cml_link *link) {
    link->prev = link->next = link;
}
static inline bool cml_link_empty(const struct cml_link *link) {
    return link->next == link;
}
static inline void cml_link_remove(struct cml_link *link) {
    link->prev->next = link->next;
    link->next->prev = link->prev;
    cml_link_init(link);
}
static inline void cml_link_push_back(struct cml_link *list, struct cml_link *link) {
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}
static inline void cml_link_push_front(struct cml_link *list, struct cml_link *link) {
    cml_link_push_back(list->next, link);
}

/* ---- shard: one event loop and all that lives on it ---- */
struct cml_shard {
    struct aws_event_loop *loop; /* immutable */
    uint32_t index;
    uint32_t most_connections; /* its share of the process's; immutable */
    _Atomic(struct cml_node *) inbox; /* any thread pushes, the loop drains */
    struct aws_task inbox_task;       /* scheduled by whoever found the inbox empty */
    atomic_uint in_flight;            /* requests given to this shard and not ended */
    /* the loop's thread only */
    struct cml_link live;      /* requests */
    struct cml_link endpoints; /* cml_endpoint_shard with connections or waiters */
    struct aws_task sweep_task;
    uint64_t sweep_at_ns; /* UINT64_MAX when not scheduled */
    uint32_t connections; /* open or opening */
    uint32_t leaving;     /* of these: about to go */
    struct cml_link to_pump; /* endpoint shards something happened to */
    bool pumping;
};

enum cml_order { CML_SPREAD, CML_IN_ORDER }; /* of a host's addresses, for new connections */

struct cml_runtime {
    struct aws_allocator *alloc;
    struct aws_event_loop_group *loops;
    struct cml_resolver {
        struct aws_host_resolver *crt;
        struct aws_client_bootstrap *bootstrap;
    } resolvers[2]; /* by enum cml_order */
    struct cml_shard *shards;
    uint32_t shard_count;
    atomic_bool closing;
    atomic_uint cleaning_up; /* requests with CML_FLAG_CLEAN_UP that have not ended */
    atomic_uint next_shard;
    pthread_mutex_t endpoints_lock;
    struct cml_endpoint *endpoints; /* under endpoints_lock */
    struct cml_pace *paces;         /* likewise */
};
extern struct cml_runtime *cml_runtime; /* NULL before the first use and in a forked child */

enum cml_message {
    CML_MSG_SUBMIT = 1,
    CML_MSG_FEED = 2,
    CML_MSG_CANCEL = 4,
    CML_MSG_CREDENTIALS = 8,
    CML_MSG_SLOT = 16
};
void cml_shard_post(struct cml_request *request, uint32_t message);
void cml_shard_sweep_by(struct cml_shard *shard, uint64_t at_ns); /* loop thread */

/* ---- endpoint: where connections are shared ---- */
struct cml_connection {
    struct cml_endpoint_shard *home;
    struct aws_http_connection *http;
    int tls_error; /* why the handshake failed */
    uint32_t tries, addresses, skipped; /* resolver.c: addresses tried and to try, and where it began */
    struct cml_request *current; /* borrowed: the request holds the connection while it uses it */
    struct cml_reader *reader;   /* socket.c; the socket owns it */
    struct aws_socket *socket;
    struct cml_link idle_link;
    uint64_t born_ns, idle_since_ns;
    uint32_t served;
    bool windowed;
    bool leaving; /* its place will be free in a moment */
};

struct cml_endpoint_shard { /* the loop's thread only */
    struct cml_endpoint *endpoint;
    struct cml_shard *shard;
    struct cml_link link; /* in shard->endpoints */
    struct cml_link idle[2]; /* connections; [1] with flow control */
    struct cml_link waiting[2];
    struct cml_link paused; /* requests whose connection could be given to others */
    uint32_t waiting_count[2];
    uint32_t connecting[2];
    uint32_t open; /* open or opening, both kinds */
    uint32_t most_open, most_idle;
    uint32_t leaving;          /* of open: those about to go */
    uint64_t connect_after_ns; /* out of descriptors until then; 0 when not */
    struct cml_link pump_link; /* in shard->to_pump */
    struct cml_hedging *hedging; /* NULL until a client that hedges has sent something */
};

struct cml_endpoint {
    atomic_int refs; /* one for each client and each connection */
    struct cml_endpoint *next; /* under runtime->endpoints_lock */
    struct cml_runtime *runtime;
    char *key;
    char *host;
    uint32_t port;
    struct aws_tls_ctx *tls_ctx;
    struct aws_tls_connection_options tls_options;
    bool tls;
    char *proxy_host, *proxy_user, *proxy_password;
    uint32_t proxy_port;
    struct aws_tls_ctx *proxy_tls_ctx;
    struct aws_tls_connection_options proxy_tls_options;
    bool proxy_tls;
    enum cml_order order;
    uint32_t connect_timeout_ms, idle_timeout_ms;
    uint32_t shard_count; /* how many of the runtime's shards it uses */
    atomic_bool found; /* the host's name has led to an address */
    atomic_llong clock_skew_s; /* server's clock minus ours, learned from RequestTimeTooSkewed */
    atomic_ullong connections_opened;
    struct cml_bulk_client *bulk; /* those of aws-c-s3; under the lock of bulk_client.c */
    struct cml_endpoint_shard shards[];
};

struct cml_endpoint *cml_endpoint_get(const struct cml_client_options *options);
void cml_endpoint_release(struct cml_endpoint *endpoint);
/* loop thread: */
void cml_endpoint_wait(struct cml_request *request);   /* queues it; it gets CONNECTION or UNREACHABLE */
void cml_endpoint_unwait(struct cml_request *request);
void cml_endpoint_give_back(struct cml_connection *connection, bool reusable);
void cml_endpoint_pump(struct cml_endpoint_shard *home);
/* Marks what has become due; cml_shard_pump acts on that, after the walk over all. */
void cml_endpoint_sweep(struct cml_endpoint_shard *home, uint64_t now_ns, uint64_t *next_ns);
void cml_shard_pump(struct cml_shard *shard);
/* between endpoint.c, which makes connections, and serve.c, which hands them out: */
void cml_endpoint_connect(struct cml_endpoint_shard *home, bool windowed);
void cml_endpoint_now_idle(struct cml_connection *connection);
void cml_endpoint_connection_gone(struct cml_connection *connection);
bool cml_endpoint_wait_for_descriptors(struct cml_endpoint_shard *home);

/* resolver.c */
int cml_resolvers_start(struct cml_runtime *runtime); /* AWS_OP_SUCCESS or AWS_OP_ERR */
void cml_resolvers_drop(struct cml_runtime *runtime);
void cml_resolvers_after_fork_in_child(void);
void cml_resolver_begin(struct cml_connection *connection);
/* After a failure to connect: whether the host has an address that this connection has not tried. */
bool cml_resolver_has_another(struct cml_connection *connection, int error_code);

/* ---- client ---- */
struct cml_client {
    atomic_int refs;
    uint64_t generation;
    struct cml_endpoint *endpoint;
    struct cml_pace *pace;
    struct cml_credentials *credentials;
    char *host_header, *region, *service;
    char *header_arena;
    struct cml_header *headers;
    size_t header_count;
    enum cml_auth auth;
    bool sign_payload;
    bool hedge;
    uint64_t stall_ns, total_ns, retry_timeout_ns;
    uint32_t max_retries, backoff_init_ms, backoff_max_ms;
    double backoff_base;
    atomic_ullong requests, attempts, retries, errors, throttled, hedges, hedges_won, bytes_received, bytes_sent;
};

/* ---- response ---- */
enum cml_checksum { CML_SUM_NONE, CML_SUM_CRC64NVME, CML_SUM_CRC32C, CML_SUM_CRC32, CML_SUM_SHA256, CML_SUM_SHA1, CML_SUM_MD5 };

#define CML_CHECKSUM_TEXT 96 /* more than any checksum has in base64 */

struct cml_response {
    int status;
    char *headers;
    size_t len, cap;
    int64_t content_length; /* -1 unknown */
    bool chunked, has_range, overflow, bad_length;
    bool encoded;        /* it comes with a content coding */
    bool stored_encoded; /* it has one where it is stored, as Cloud Storage says: its checksum is of that */
    uint64_t range_start, range_end, total; /* end exclusive */
    uint32_t etag_at;                       /* offset + 1 in headers, 0 if none */
    enum cml_checksum checksum;
    char checksum_text[CML_CHECKSUM_TEXT];  /* in base64 */
    int32_t retry_after_s; /* -1 none */
    int64_t retry_at_s;    /* Retry-After as a date, Unix time, 0 none */
    int64_t date_s;        /* Unix time of the Date header, 0 none */
};
void cml_response_reset(struct cml_response *response);
void cml_response_free(struct cml_response *response);
bool cml_response_add(struct cml_response *response, const struct aws_http_header *header);
const char *cml_response_etag(const struct cml_response *response); /* NULL if none */
bool cml_etag_is_strong(const char *etag);
enum cml_checksum cml_response_checksum(const struct cml_response *response); /* what the body can be held against */

/* ---- checksums of bodies ---- */
struct cml_sum {
    enum cml_checksum kind;
    uint64_t crc;
    struct aws_hash *hash;
};
void cml_sum_start(struct cml_sum *sum, enum cml_checksum kind);
void cml_sum_update(struct cml_sum *sum, const void *data, size_t length);
bool cml_sum_matches(struct cml_sum *sum, const char *base64);
void cml_sum_stop(struct cml_sum *sum);

/* ---- request ---- */
struct cml_piece {
    uint8_t *data;
    size_t capacity, filled;
};

enum cml_after_abort { CML_THEN_RETRY, CML_THEN_FAIL, CML_THEN_PARK }; /* FAIL: end, with pending_error or well */

/* What a stream's callbacks have: which request it is of. It holds a reference on that; hedging may exchange two. */
struct cml_wire {
    struct cml_request *owner;
};

struct cml_source;

struct cml_request {
    atomic_int refs;
    /* immutable once submitted */
    struct cml_client *client;
    struct cml_queue *queue;
    void *user_data;
    char *arena; /* path, then header names and values */
    size_t arena_len, arena_cap;
    size_t path_len;
    struct cml_header_at {
        uint32_t name, name_len, value, value_len; /* offsets in the arena */
    } *headers;
    uint32_t header_count, header_cap;
    char method[16];
    bool is_head;
    enum cml_sink sink;
    uint32_t flags;
    enum cml_range range;
    uint64_t range_from, range_to;
    uint64_t collect_limit;
    const struct cml_bytes *body_spans; /* own_span, or an array of its own; none of a body from a file */
    struct cml_bytes own_span;
    uint32_t body_span_count;
    int body_fd;
    uint64_t body_offset, body_length;
    char *payload_sha256; /* in hex; NULL: made on the loop, where it is needed */
    uint64_t total_ns;
    enum cml_checksum digest; /* to be summed up whatever the server sends */
    uint64_t digest_mark;     /* how much of the body marked_digest is of; 0: all */
    struct cml_shard *shard; /* NULL for a bulk job */
    struct cml_bulk *bulk;   /* what aws-c-s3 is to do; NULL for a request of the engine's own */
    uint64_t generation;

    /* any thread */
    atomic_uint messages;
    struct cml_node inbox_node;

    /* under lock, which is taken by cml_request_lock: what consumer and loop share */
    pthread_mutex_t lock;
    _Atomic uint64_t lock_generation;
    struct cml_piece *pieces; /* own_pieces, or an array of its own */
    struct cml_piece own_pieces[CML_PIECES];
    uint32_t piece_slots;
    uint32_t piece_head, piece_count;
    uint64_t pieces_done;
    uint64_t room_posted; /* bytes of room given so far */
    uint8_t *spill;
    size_t spill_len, spill_cap;
    struct cml_file *file; /* where the body goes instead of into pieces; NULL for most */
    bool unseen; /* nobody has to look at the body's bytes on their way: to sum them up, decrypt them or find their end */
    struct cml_note *note; /* on `queue`, not yet drained; NULL when there is none */
    bool revoked;
    bool headers_ready, finished;
    int error, crt_error;
    uint64_t received; /* body bytes taken in, over all attempts */
    bool in_doubt;     /* see cml_progress */

    /* under the lock of the request's lane (pace.h); the slot is also read without it, by the request's own loop */
    atomic_int slot; /* enum cml_slot: from WAITING to HELD on any loop, else on its own */
    struct cml_link pace_link;
    uint64_t pace_epoch; /* of the window it was sent under */

    /* the loop's thread only, and after finished anybody's */
    enum cml_state state;
    struct cml_link live_link, wait_link, credentials_link;
    struct cml_connection *connection;
    struct aws_http_stream *stream;
    struct cml_wire own_wire, *wire; /* the stream's: own_wire, or one that can be exchanged */
    struct cml_response response; /* the one the consumer's data comes from */
    struct cml_response current;  /* of this attempt */
    bool committed;               /* response is set for good */
    bool window_flow;             /* the connection has flow control */
    uint64_t attempt_base;        /* received when this attempt began */
    uint64_t window_credited;     /* room turned into window in this attempt */
    uint64_t attempt_received, skip; /* body bytes of this attempt; bytes of it to drop, which nobody asked for */
    uint64_t wanted; /* how many are to be kept after those; UINT64_MAX for all */
    struct cml_sum sum;
    uint64_t marked_digest;       /* of the body's bytes before digest_mark */
    bool sum_whole;               /* to be compared with what the server sent */
    struct cml_buffer *collected;
    struct cml_buffer *prefetched; /* set before headers_ready, read-only then; the body of a short STREAM */
    char *error_body;
    size_t error_len;
    uint64_t source_at; /* how far the upload's source was read */
    bool got_headers, reused_connection;
    bool overdue; /* its time is over, and it is only waited for because of CML_FLAG_NAMES */
    uint32_t attempts, failures, free_retries, auth_retries, checksum_retries, handshake_retries, wrong_answers;
    uint64_t signed_with; /* which publication of the credentials this attempt used */
    uint64_t started_ns, trying_since_ns, deadline_ns, progress_ns, wake_ns, waiting_since_ns;
    uint64_t sending_since_ns, sent_till_ns; /* when this attempt's upload began, and when it last got on */
    uint64_t probed_ns; /* when, and how much, the kernel had still to send of an upload or to hand out of a body */
    int in_kernel;
    int pending_error, pending_crt;
    enum cml_after_abort after_abort;
    /* hedge.c */
    struct cml_request *twin;      /* referenced; only in SENT */
    struct cml_request *principal; /* borrowed: it goes before its twin, and says so */
    bool is_twin;
    uint64_t sent_ns, hedge_at_ns; /* when this attempt was sent, and when a twin is due: 0 for never */

    bool exposed; /* the consumer has claimed body bytes: no restart from zero */
};

/* In a forked child a lock that its parent made may be held by a thread that is not there: it is made anew on first use,
 * and nothing moves the request any more. */
void cml_request_inherit(struct cml_request *request);

static inline void cml_request_lock(struct cml_request *request) {
    if (atomic_load_explicit(&request->lock_generation, memory_order_acquire) != cml_runtime_generation()) {
        cml_request_inherit(request);
    }
    pthread_mutex_lock(&request->lock);
}

void cml_dispatch(struct cml_request *request, enum cml_event event); /* loop thread */

/* transport.c: the CRT's side */
int cml_transport_send(struct cml_request *request, struct aws_credentials *credentials); /* 0 or an aws error */
void cml_transport_abort(struct cml_request *request);
int cml_transport_unsent(const struct cml_request *request); /* bytes in the socket's buffer; -1 where it won't say */
void cml_transport_open_window(struct cml_request *request, uint64_t bytes);

/* source.c: the body of an upload, as aws-c-http reads it */
struct aws_input_stream *cml_source_new(struct cml_request *request);
/* Sends a message whose end stands for bytes of the source. Of what the socket has not taken, and the message then begins
 * with, it holds the bytes themselves. AWS_OP_SUCCESS or AWS_OP_ERR. */
int cml_source_send(struct cml_source *source, int socket, struct aws_byte_cursor *message);

/* socket.c: how connections are read and written */
void cml_socket_adopt(struct cml_connection *connection);
void cml_socket_leave(struct cml_connection *connection); /* it goes, and the socket may stay for a while */
/* Of a request in BODY: whether bytes wait in its socket for more of their kind, and how many. */
bool cml_socket_holds_back(const struct cml_request *request);
int cml_socket_unread(const struct cml_request *request);
/* Whether the next message that is written is given to cml_source_send. */
bool cml_socket_lend(const struct cml_request *request, struct cml_source *source);
bool cml_socket_is_plain(const struct cml_request *request); /* its bytes are the body's own, not encrypted */
void cml_socket_go_on(const struct cml_request *request); /* there is room again, or it does not matter any more */
void cml_socket_await_less(const struct cml_request *request); /* its next piece of room has become smaller */

/* hedge.c */
void cml_hedge_sent(struct cml_request *request);
void cml_hedge_answered(struct cml_request *request);
void cml_hedge_launch(struct cml_request *request); /* hedge_at_ns has come */
void cml_hedge_drop(struct cml_request *request);   /* its twin is not needed any more */
void cml_hedge_ended(struct cml_request *twin);     /* by itself */
/* Gives the twin's stream, whose headers have come, to its principal, and returns that; the twin has the other. */
struct cml_request *cml_hedge_won(struct cml_request *twin);

/* body.c: where body bytes go */
/* Under lock: the memory that the next bytes go to as they are, and how many in one piece; NULL for none. */
uint8_t *cml_body_place(struct cml_request *request, size_t *room);
/* Under lock. Bytes that are in place already stay there. 0 or enum cml_error. filled: whether a piece of room is done
 * that was not before. */
int cml_body_store(struct cml_request *request, const uint8_t *data, size_t length, bool *filled);
void cml_body_drop_spill(struct cml_request *request); /* what has no room will be asked for again */
bool cml_body_is_untouched(struct cml_request *request); /* it may be forgotten; a consumer can change that any time */
bool cml_body_forget(struct cml_request *request); /* what came is to come again from its beginning; false: too late */
bool cml_body_restart(struct cml_request *request); /* false when the consumer may have seen some of it */
void cml_body_finish(struct cml_request *request); /* under lock: the last, partly filled piece is done */
void cml_body_prefetch(struct cml_request *request);
void cml_body_drain_spill(struct cml_request *request); /* under lock: when there is more room */
bool cml_body_reserve(struct cml_request *request, uint64_t length);
/* file.c: bodies that go to a file. All under the request's lock. */
uint8_t *cml_file_place(struct cml_request *request, size_t *room); /* as cml_body_place */
size_t cml_file_take(struct cml_request *request, const uint8_t *data, size_t length); /* how much found room */
/* The pipe that the next bytes may be spliced to, and how many; NULL where they have to be seen, or there is no room. How
 * many were is told by cml_file_piped; cml_file_take then gets them, at cml_pipe_nowhere(). */
struct cml_pipe *cml_file_pipe(struct cml_request *request, size_t *room);
void cml_file_piped(struct cml_request *request, size_t length);
bool cml_file_pipe_is_full(struct cml_request *request); /* it takes no more: another may, if this is true */
int cml_file_os_error(const struct cml_request *request);
void cml_file_restart(struct cml_request *request);
bool cml_file_ends_later(struct cml_request *request, int error); /* then file.c calls cml_request_ended */
void cml_file_ended(struct cml_request *request);
void cml_file_wait_quiet(struct cml_request *request); /* until no thread writes; with `revoked`, for good */
void cml_file_inherit(struct cml_request *request); /* see cml_request_lock */
void cml_file_free(struct cml_file *file);
/* announce.c; claim is called under the request's lock, push after it */
struct cml_note *cml_note_claim(struct cml_request *request);
void cml_note_push(struct cml_note *note);
void cml_request_announce(struct cml_request *request);
/* What the attempt's Range and If-Match are: false for none. */
bool cml_request_attempt_range(const struct cml_request *request, char out[64]);

/* request.c: what is dispatched next, or done by those two for receive.c, is done for this error */
void cml_request_note(struct cml_request *request, int error, int crt_error);
void cml_request_enter(struct cml_request *request, enum cml_action action, enum cml_state next);
void cml_request_abort(struct cml_request *request, enum cml_action action, enum cml_after_abort then);
/* receive.c: actions, for request.c; and the bytes of a body, for transport.c */
void cml_receive_judge(struct cml_request *request);
void cml_receive_pause(struct cml_request *request);
void cml_receive_open(struct cml_request *request);
void cml_request_on_data(struct cml_request *request, const uint8_t *data, size_t length);
/* request.c, for file.c */
bool cml_request_is_revoked(struct cml_request *request);
/* Under lock: push the note after it, and release the engine's reference. */
struct cml_note *cml_request_ended(struct cml_request *request);

/* judgement.c */
bool cml_signs(const struct cml_request *request);
bool cml_is_error_status(const struct cml_request *request);
void cml_keep_error_body(struct cml_request *request, const uint8_t *data, size_t length);
bool cml_is_resumable(const struct cml_request *request);
int cml_check_headers(struct cml_request *request); /* CML_OK or what is wrong */
bool cml_is_behind_part(const struct cml_request *request); /* more came than the Content-Range says */
int cml_check_end(struct cml_request *request);
void cml_forgive(struct cml_request *request); /* at the end of an attempt: the failures before it, if it got on */
bool cml_may_retry(struct cml_request *request, uint64_t *wait_ns); /* whether another attempt may help */
bool cml_can_go_on(struct cml_request *request); /* whether what was received can be kept or thrown away */
bool cml_may_be_done(const struct cml_request *request); /* whether the failed attempt may have had its effect */
bool cml_all_is_here(const struct cml_request *request);

/* retry.c */
int cml_error_from_crt(int crt_error, bool connecting);
int cml_error_of_unsent(int crt_error); /* of cml_transport_send */
bool cml_error_is_retryable(int error);
bool cml_status_is_retryable(const struct cml_response *response, const char *body, size_t len);
bool cml_status_is_throttling(const struct cml_response *response, const char *body, size_t len);
uint64_t cml_backoff_ns(const struct cml_client *client, uint32_t failures, int32_t retry_after_s);
bool cml_body_has_code(const char *body, size_t len, const char *code);

/* credentials.c */
enum cml_credentials_state { CML_HAVE_CREDENTIALS, CML_WAIT_CREDENTIALS, CML_NO_CREDENTIALS };
enum cml_credentials_state cml_credentials_get(struct cml_credentials *source, struct cml_request *waiter,
                                               struct aws_credentials **out, uint64_t *publication);
void cml_credentials_unwait(struct cml_credentials *source, struct cml_request *request);
bool cml_credentials_reject(struct cml_credentials *source, uint64_t publication); /* after 401/403: true if fresh ones may come */

/* signing.c */
int cml_sign(struct cml_request *request, struct aws_http_message *message, struct aws_credentials *credentials);

/* authorize.c: loop thread */
int cml_authorize(struct cml_request *request, struct aws_http_message *message, struct aws_credentials *credentials);

#endif
