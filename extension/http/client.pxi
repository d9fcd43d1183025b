# `Client`: the native half of a store: where its requests go, how they are signed and retried. Immutable.

cdef class Client:
    cdef cml_client *c
    cdef readonly uint64_t generation
    cdef readonly bytes base  # what comes before a key in a request's path, percent-encoded
    cdef readonly bytes query  # what comes after it: empty, or from the question mark on
    cdef readonly bint cuts  # whether `get_range` may cut a range out of the whole object (see CML_FLAG_CUT)
    cdef readonly Credentials credentials  # kept: the refresher has to find it as long as requests ask it

    def __cinit__(self, *, key, pace_key=None, host, port, tls, host_header, base=b"/", query=b"", cuts=False,
                  headers=(), tls_verify=True, ca_pem=None, proxy_host=None, proxy_port=0, proxy_tls=False,
                  proxy_ca_pem=None, proxy_user=None, proxy_password=None,
                  max_connections, max_idle=0xFFFFFFFF, bint in_order=False, connect_timeout_ms, idle_timeout_ms,
                  stall_timeout_ms, total_timeout_ms,
                  bint hedge=False, max_retries, retry_timeout_ms, backoff_init_ms, backoff_max_ms, backoff_base,
                  region=None, service="s3", sign_payload=False, auth="sigv4", Credentials credentials=None):
        cdef cml_client_options options
        cdef list kept = []
        _ensure_runtime()
        memset(&options, 0, sizeof(options))
        options.key = _text(key, kept)
        options.pace_key = _text(pace_key, kept)
        options.host = _text(host, kept)
        options.port = port
        options.tls = tls
        options.tls_verify = tls_verify
        options.ca_pem = _text(ca_pem, kept)
        options.ca_pem_len = len(kept[-1]) if ca_pem is not None else 0
        options.proxy_host = _text(proxy_host, kept)
        options.proxy_port = proxy_port
        options.proxy_tls = proxy_tls
        options.proxy_ca_pem = _text(proxy_ca_pem, kept)
        options.proxy_ca_pem_len = len(kept[len(kept) - 1]) if proxy_ca_pem is not None else 0
        options.proxy_user = _text(proxy_user, kept)
        options.proxy_password = _text(proxy_password, kept)
        options.max_connections = max_connections
        options.max_idle = max_idle
        options.in_order = in_order
        options.connect_timeout_ms = connect_timeout_ms
        options.idle_timeout_ms = idle_timeout_ms
        options.stall_timeout_ms = stall_timeout_ms
        options.total_timeout_ms = total_timeout_ms
        options.hedge = hedge
        options.max_retries = max_retries
        options.retry_timeout_ms = retry_timeout_ms
        options.backoff_init_ms = backoff_init_ms
        options.backoff_max_ms = backoff_max_ms
        options.backoff_base = backoff_base
        options.host_header = _text(host_header, kept)
        options.region = _text(region, kept)
        options.service = _text(service, kept)
        options.sign_payload = sign_payload
        options.auth = _auth(auth)
        self.credentials = credentials
        if credentials is not None:
            credentials.check_generation()
            options.credentials = credentials.c
        self.base = base
        self.query = query
        self.cuts = cuts
        self.generation = cml_runtime_generation()
        self.make(&options, list(headers), kept)

    cdef int make(self, cml_client_options *options, list headers, list kept) except -1:
        cdef cml_header *array = <cml_header *>PyMem_Calloc(len(headers) + 1, sizeof(cml_header))
        cdef Py_ssize_t i
        if array == NULL:
            raise MemoryError()
        try:
            for i in range(len(headers)):
                name, value = headers[i]
                array[i].name = _text(name, kept)
                array[i].name_len = len(kept[-1])
                array[i].value = _text(value, kept)
                array[i].value_len = len(kept[-1])
            options.headers = array
            options.header_count = len(headers)
            self.c = cml_client_new(options)
            if self.c == NULL:
                raise OSError(f"cannot prepare connections: {aws_error_str(cml_last_crt_error()).decode()}")
        finally:
            PyMem_Free(array)
        return 0

    def __dealloc__(self):
        cml_client_release(self.c)

    def stats(self):
        """Counters since the client was made, and what throttling has come to now."""
        cdef cml_client_stats_t s
        cdef cml_lane_stats[2] lanes
        cml_client_stats(self.c, &s)
        cml_client_pace(self.c, lanes)
        return {
            "requests": s.requests, "attempts": s.attempts, "retries": s.retries, "errors": s.errors,
            "bytes_received": s.bytes_received, "bytes_sent": s.bytes_sent,
            "connections_opened": s.connections_opened, "throttled": s.throttled,
            "hedges": s.hedges, "hedges_won": s.hedges_won,
            "read_window": lanes[0].window, "reads_in_flight": lanes[0].in_flight, "reads_waiting": lanes[0].waiting,
            "write_window": lanes[1].window, "writes_in_flight": lanes[1].in_flight,
            "writes_waiting": lanes[1].waiting,
        }


cdef cml_auth _auth(str name) except *:
    names = {"sigv4": CML_AUTH_SIGV4, "s3express": CML_AUTH_S3EXPRESS, "bearer": CML_AUTH_BEARER,
             "sharedkey": CML_AUTH_SHARED_KEY, "query": CML_AUTH_QUERY,
             "azure": CML_AUTH_AZURE, "headers": CML_AUTH_HEADERS}
    return names[name]


cdef const char *_text(value, list kept) except? NULL:
    # A C string that lives as long as `kept`; NULL for None.
    if value is None:
        return NULL
    encoded = value if isinstance(value, bytes) else value.encode()
    kept.append(encoded)
    return PyBytes_AS_STRING(encoded)
