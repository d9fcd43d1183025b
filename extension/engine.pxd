"""What the extension uses of the engine: declarations only. The comments are in engine/*.h."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "<stdbool.h>" nogil:
    ctypedef bint cbool "bool"


cdef extern from "engine/engine.h" nogil:
    int CML_OK, CML_ERR_CANCELLED, CML_ERR_STATUS, CML_ERR_SHUTDOWN, CML_ERR_CREDENTIALS
    const char *cml_error_name(int error)

    enum cml_live:
        CML_LIVE_REQUESTS, CML_LIVE_BUFFERS, CML_LIVE_COLUMNS, CML_LIVE_ARRAYS
    int64_t cml_live_get(cml_live kind)

    struct cml_node:
        cml_node *next

    struct cml_queue:
        pass
    cml_queue *cml_queue_new_fd()
    cml_queue *cml_queue_new_cond()
    void cml_queue_acquire(cml_queue *queue)
    void cml_queue_release(cml_queue *queue)
    int cml_queue_fd(const cml_queue *queue)
    cml_node *cml_queue_take_all(cml_queue *queue)
    bint cml_queue_wait_in_turn(cml_queue *queue, int timeout_ms)
    void cml_queue_awake(cml_queue *queue)
    void cml_queue_poke(cml_queue *queue)

    struct cml_buffer:
        uint8_t *data
        size_t length
        size_t capacity
    cml_buffer *cml_buffer_new(size_t length)
    void cml_buffer_acquire(cml_buffer *buffer)
    void cml_buffer_release(cml_buffer *buffer)

    struct cml_pool_stats_t "cml_pool_stats":
        uint64_t in_use_bytes
        uint64_t idle_bytes
        uint64_t limit_bytes
    void cml_pool_stats(cml_pool_stats_t *out)
    void cml_pool_set_limit(uint64_t limit_bytes)
    bint cml_pool_claim(size_t bytes, bint must)
    void cml_pool_unclaim(size_t bytes)
    void cml_advise_huge(void *data, size_t length)
    void cml_pool_trim(uint64_t max_idle_ns)

    struct cml_runtime_options:
        uint32_t threads
        uint32_t max_connections
    int cml_runtime_start(const cml_runtime_options *options)
    bint cml_runtime_running()
    uint32_t cml_runtime_threads()
    uint64_t cml_runtime_connections()
    bint cml_runtime_quiesce(uint32_t timeout_ms)
    void cml_runtime_watch_forks()
    uint64_t cml_runtime_generation()

    struct cml_credentials:
        pass
    cml_credentials *cml_credentials_new(cml_queue *wanted, void *user_data)
    void cml_credentials_acquire(cml_credentials *source)
    void cml_credentials_release(cml_credentials *source)
    void *cml_credentials_user_data_of_node(cml_node *node)
    void cml_credentials_publish(cml_credentials *source, const char *access_key, const char *secret,
                                 const char *token, uint64_t expires_ms, uint64_t refresh_ms)
    void cml_credentials_publish_failure(cml_credentials *source, const char *message)
    void cml_credentials_invalidate(cml_credentials *source)
    size_t cml_credentials_failure(cml_credentials *source, char *out, size_t capacity)

    struct cml_header:
        const char *name
        size_t name_len
        const char *value
        size_t value_len

    enum cml_auth:
        CML_AUTH_SIGV4, CML_AUTH_S3EXPRESS, CML_AUTH_BEARER, CML_AUTH_SHARED_KEY, CML_AUTH_QUERY, CML_AUTH_AZURE, \
            CML_AUTH_HEADERS
    struct cml_client_options:
        const char *key
        const char *pace_key
        const char *host
        uint32_t port
        bint tls
        bint tls_verify
        const char *ca_pem
        size_t ca_pem_len
        const char *proxy_host
        uint32_t proxy_port
        bint proxy_tls
        const char *proxy_ca_pem
        size_t proxy_ca_pem_len
        const char *proxy_user
        const char *proxy_password
        uint32_t max_connections
        uint32_t max_idle
        bint in_order
        uint32_t connect_timeout_ms
        uint32_t idle_timeout_ms
        uint64_t stall_timeout_ms
        uint64_t total_timeout_ms
        bint hedge
        uint32_t max_retries
        uint64_t retry_timeout_ms
        uint32_t backoff_init_ms
        uint32_t backoff_max_ms
        double backoff_base
        const char *host_header
        const cml_header *headers
        size_t header_count
        const char *region
        const char *service
        bint sign_payload
        cml_auth auth
        cml_credentials *credentials

    struct cml_client:
        pass
    cml_client *cml_client_new(const cml_client_options *options)
    void cml_client_release(cml_client *client)

    struct cml_client_stats_t "cml_client_stats":
        uint64_t requests, attempts, retries, errors, throttled, hedges, hedges_won
        uint64_t bytes_received, bytes_sent, connections_opened
    void cml_client_stats(cml_client *client, cml_client_stats_t *out)

    struct cml_lane_stats:
        uint32_t window, in_flight, waiting
    void cml_client_pace(cml_client *client, cml_lane_stats *out)
    void cml_runtime_pace(cml_lane_stats *out)

    struct cml_request:
        pass
    enum cml_range:
        CML_RANGE_NONE, CML_RANGE_BOUNDED, CML_RANGE_OFFSET, CML_RANGE_SUFFIX
    enum cml_sink:
        CML_SINK_COLLECT, CML_SINK_BUFFER, CML_SINK_STREAM
    enum:
        CML_FLAG_ANNOUNCE_HEADERS, CML_FLAG_ERROR_IN_200, CML_FLAG_VERIFY, CML_FLAG_UNSIGNED, CML_FLAG_CLEAN_UP, \
            CML_FLAG_CUT, CML_FLAG_WHOLE, CML_FLAG_NAMES
    cml_request *cml_request_new(cml_client *client, const char *method, const char *path, size_t path_len)
    void cml_request_add_header(cml_request *request, const char *name, size_t name_len, const char *value,
                                size_t value_len)
    void cml_request_set_range(cml_request *request, cml_range kind, uint64_t start, uint64_t end)
    void cml_request_set_flags(cml_request *request, uint32_t flags)
    void cml_request_add_flags(cml_request *request, uint32_t flags)
    void cml_request_set_timeout(cml_request *request, uint64_t total_ms)
    struct cml_bytes:
        const uint8_t *data
        size_t length
    bint cml_request_set_body_memory(cml_request *request, const cml_bytes *spans, uint32_t count)
    bint cml_request_signs_payload(const cml_request *request)
    bint cml_request_set_payload_sha256(cml_request *request, const char *hex)
    void cml_request_set_body_file(cml_request *request, int fd, uint64_t offset, uint64_t length)
    void cml_request_set_sink(cml_request *request, cml_sink sink, uint64_t collect_limit)
    void cml_request_set_user_data(cml_request *request, void *user_data)
    void *cml_request_user_data(const cml_request *request)
    void cml_request_submit(cml_request *request, cml_queue *queue)
    bint cml_request_submit_and_wait(cml_request *request, cml_queue *queue, int timeout_ms)
    bint cml_request_retarget(cml_request *request, cml_queue *queue)
    void cml_request_acquire(cml_request *request)
    void cml_request_release(cml_request *request)
    cml_request *cml_request_of_node(cml_node *node, cbool *last)
    bint cml_request_reserve_pieces(cml_request *request, uint32_t pieces)
    bint cml_request_feed(cml_request *request, void *data, size_t capacity)
    enum cml_fed:
        CML_FED_REFUSED, CML_FED, CML_FED_AGAIN
    cml_fed cml_request_feed_file(cml_request *request, int fd, uint64_t offset, uint64_t length)
    void cml_request_revoke(cml_request *request)
    void cml_request_cancel(cml_request *request)

    struct cml_progress:
        bint headers_ready
        bint finished
        int error
        int crt_error
        int os_error
        uint32_t attempts
        bint in_doubt
        uint64_t pieces_done
        uint64_t delivered
        uint64_t waiting
    void cml_request_progress(cml_request *request, cml_progress *out)
    uint64_t cml_request_claim(cml_request *request, uint64_t *delivered)

    struct cml_response_view:
        int status
        const char *headers
        size_t headers_len
        int64_t content_length
        bint has_range
        uint64_t range_start, range_end, total
    void cml_request_response(cml_request *request, cml_response_view *out)
    void cml_request_failure(cml_request *request, cml_response_view *out, const char **body, size_t *len)
    cml_buffer *cml_request_prefetched(cml_request *request)
    uint64_t cml_request_claim_before(cml_request *request, uint64_t at)
    cml_buffer *cml_request_take_body(cml_request *request)
    struct cml_sum
    cml_sum *cml_checksum_begin(const char *algorithm)
    void cml_checksum_add(cml_sum *sum, const void *data, size_t length)
    size_t cml_checksum_end(cml_sum *sum, uint8_t *out)
    bint cml_request_set_digest(cml_request *request, const char *algorithm)
    void cml_request_mark_digest(cml_request *request, uint64_t offset)
    uint64_t cml_request_digest(const cml_request *request)
    const char *cml_request_announced_checksum(const cml_request *request, const char **base64)
    uint64_t cml_digest_combine(const char *algorithm, uint64_t first, uint64_t second, uint64_t second_length)

    enum cml_bulk_job:
        CML_BULK_GET, CML_BULK_GET_FILE, CML_BULK_PUT, CML_BULK_PUT_FILE, CML_BULK_PUT_WRITES, CML_BULK_COPY
    struct cml_bulk_options:
        cml_bulk_job job
        uint64_t part_bytes
        uint32_t max_concurrency
        bint foreign_memory
        const char *file
        const char *checksum
        const char *expected
        const char *copy_source
    bint cml_request_set_bulk(cml_request *request, const cml_bulk_options *options)
    bint cml_client_can_bulk(const cml_client *client)
    bint cml_client_bulk_is_ready(cml_client *client)
    int cml_client_prepare_bulk(cml_client *client)
    int CML_WRITE_LATER, CML_WRITE_FAILED
    int64_t cml_request_write(cml_request *request, const void *data, size_t length, bint end)
    int cml_last_crt_error()


cdef extern from "engine/xml.h" nogil:
    int CML_XML_ERROR, CML_XML_OPEN, CML_XML_TEXT, CML_XML_CLOSE, CML_XML_END

    struct cml_xml:
        const char *name
        size_t name_len
        const char *text
        size_t text_len
        bint plain
        uint32_t depth
        const char *problem
    void cml_xml_start(cml_xml *xml, const char *document, size_t length)
    int cml_xml_next(cml_xml *xml)
    size_t cml_xml_offset(const cml_xml *xml)
    bint cml_xml_leaf(cml_xml *xml)
    bint cml_xml_skip(cml_xml *xml)
    size_t cml_xml_decode(const char *text, size_t length, char *out)
    bint cml_xml_is(const cml_xml *xml, const char *name)


cdef extern from "engine/columns.h" nogil:
    struct ArrowSchema:
        void (*release)(ArrowSchema *) noexcept

    struct ArrowArray:
        void (*release)(ArrowArray *) noexcept

    struct cml_text:
        const char *data
        size_t length

    struct cml_row:
        cml_text path, e_tag, version
        int64_t modified_us
        uint64_t size
    struct cml_text_bytes:
        size_t path, e_tag, version
    struct cml_columns
    int CML_COLUMNS_OK, CML_COLUMNS_NO_MEMORY, CML_COLUMNS_TOO_LARGE
    cml_columns *cml_columns_new()
    cml_columns *cml_columns_acquire(cml_columns *columns)
    void cml_columns_release(cml_columns *columns)
    int64_t cml_columns_rows(const cml_columns *columns)
    void cml_columns_row(const cml_columns *columns, int64_t index, cml_row *row)
    int cml_columns_add(cml_columns *columns, const cml_row *row)
    int cml_columns_reserve(cml_columns *columns, int64_t rows, const cml_text_bytes *bytes)
    void cml_columns_count(const cml_columns *columns, int64_t start, int64_t stop, cml_text_bytes *bytes)
    int cml_columns_extend(cml_columns *columns, const cml_columns *from_, int64_t start, int64_t stop)
    int64_t cml_columns_odd_row(const cml_columns *columns, int64_t start, int64_t stop)
    bint cml_columns_schema(ArrowSchema *out)
    bint cml_columns_export(cml_columns *columns, int64_t start, int64_t stop, ArrowArray *out)


cdef extern from "engine/log.h" nogil:
    struct cml_log_line:
        int level
        char *text
    void cml_log_set(int level, cml_queue *reader)
    bint cml_log_take(cml_log_line *out, uint64_t *dropped)


cdef extern from "<aws/common/error.h>" nogil:
    const char *aws_error_name(int error)
    const char *aws_error_str(int error)
