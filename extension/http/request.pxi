# `Request`: one request of the engine and the memory it uses. All methods under the GIL; the engine never calls them.
#
# Pinned while under way: `_pinned` holds the object from submission until its end has been drained, since the engine
# writes to `target` and reads from `source`. cml_request's user_data is this object, borrowed from that pin.

cdef object _make_error = None  # exception of a failed request, set by the package


def set_error_factory(factory):
    """Register what turns a failed `Request` into an exception; returns what did so before."""
    global _make_error
    before = _make_error
    _make_error = factory
    return before


cdef class Request:
    cdef cml_request *c
    cdef Queue queue
    cdef uint64_t generation
    cdef readonly Client client
    cdef public object context  # what the error factory and the driver want to know
    cdef public object waiter   # called with this request when there is news; or a future (see get_range.pxi)
    cdef cml_buffer *target     # a body of known size, not yet handed out
    cdef Py_ssize_t target_size
    cdef Exported source        # the content that is sent
    cdef bint is_range, is_bulk
    cdef readonly bint submitted
    cdef readonly bint ended    # and its end has been heard of
    cdef tuple seen             # the response, once read
    cdef list into              # whose memory the body goes to
    cdef object keep            # what must live as long: a file, pieces of a stream
    cdef readonly Py_ssize_t pieces_taken
    cdef bint has_forked, to_file
    cdef object __weakref__

    def __cinit__(self, Client client not None, str method not None, bytes path not None, headers=None, *,
                  context=None, range=None, sink="collect", bint announce_headers=False, bint error_in_200=False,
                  bint verify=False, bint unsigned=False, bint clean_up=False, bint cut=False, bint names=False,
                  double timeout_s=0,
                  body=None, file=None, uint64_t collect_limit=64 << 20, str digest=None):
        self.client = client
        self.context = context
        self.generation = client.generation
        method_bytes = method.encode("ascii")
        self.c = cml_request_new(client.c, method_bytes, PyBytes_AS_STRING(path), len(path))
        if self.c == NULL:
            raise MemoryError()
        cml_request_set_user_data(self.c, <void *>self)
        if headers:
            self.add_headers(headers)
        if range is not None:
            self.set_range(range[0], range[1], range[2])
        cml_request_set_flags(self.c, (
            (CML_FLAG_ANNOUNCE_HEADERS if announce_headers else 0) | (CML_FLAG_ERROR_IN_200 if error_in_200 else 0)
            | (CML_FLAG_VERIFY if verify else 0) | (CML_FLAG_UNSIGNED if unsigned else 0)
            | (CML_FLAG_CLEAN_UP if clean_up else 0) | (CML_FLAG_CUT if cut else 0)
            | (CML_FLAG_NAMES if names else 0)))
        cml_request_set_sink(self.c, CML_SINK_STREAM if sink == "stream" else
                             CML_SINK_BUFFER if sink == "buffer" else CML_SINK_COLLECT, collect_limit)
        if digest is not None and not cml_request_set_digest(self.c, digest.encode("ascii")):
            raise ValueError(f"no digest can be kept by {digest!r}")
        if timeout_s > 0:
            cml_request_set_timeout(self.c, <uint64_t>(timeout_s * 1000))
        if body is not None:
            self.set_body(body)
        elif file is not None:
            self.set_file(file[0], file[1], file[2])

    def __dealloc__(self):
        cml_buffer_release(self.target)
        if self.c != NULL:
            cml_request_release(self.c)

    cdef int add_headers(self, headers) except -1:
        cdef bytes n, v
        for name, value in headers:
            n = name if isinstance(name, bytes) else name.encode("ascii")
            v = value if isinstance(value, bytes) else value.encode("utf-8")
            cml_request_add_header(self.c, n, len(n), v, len(v))
        return 0

    cdef int set_range(self, str kind, uint64_t start, uint64_t end) except -1:
        cml_request_set_range(self.c, CML_RANGE_BOUNDED if kind == "bounded" else
                              CML_RANGE_OFFSET if kind == "offset" else CML_RANGE_SUFFIX, start, end)
        return 0

    cdef int set_body(self, body) except -1:
        cdef cml_bytes span
        cdef Pieces pieces
        cdef bint taken
        if isinstance(body, Pieces):
            self.keep = pieces = body
            taken = cml_request_set_body_memory(self.c, pieces.spans, <uint32_t>pieces.count)
        else:
            self.source = Exported(body, writable=False)
            span.data = <const uint8_t *>self.source.view.buf
            span.length = self.source.view.len
            taken = cml_request_set_body_memory(self.c, &span, 1)
        if not taken:
            raise MemoryError()
        return 0

    cdef int set_file(self, file, uint64_t offset, uint64_t length) except -1:
        self.keep = file
        cml_request_set_body_file(self.c, file if isinstance(file, int) else file.fileno(), offset, length)
        return 0

    @property
    def signs_payload(self):
        """Whether the signature needs the SHA-256 of the body."""
        return bool(cml_request_signs_payload(self.c))

    def set_payload_sha256(self, bytes digest not None):
        """Before submission: that sum, for the engine not to make it where it sends from."""
        if self.submitted or len(digest) != 32:
            raise ValueError("a SHA-256 has 32 bytes, and is set before the request is submitted")
        if not cml_request_set_payload_sha256(self.c, digest.hex().encode("ascii")):
            raise MemoryError()

    # -- submitting and waiting

    cpdef submit(self, Queue queue):
        """Start. News goes to `queue`; `waiter` is called when it is drained."""
        if not self.begin(queue):
            return
        queue = self.queue
        if self.is_bulk:  # it opens files
            with nogil:
                cml_request_submit(self.c, queue.c)
        else:
            cml_request_submit(self.c, queue.c)

    cdef bint begin(self, Queue queue) except -1:
        # All of a submission but the engine's part; false when it is not to be sent at all.
        if self.generation != cml_runtime_generation():
            self.has_forked = True
            raise _make_error(self)
        queue = self.queue = _read_queue(queue)
        if _exiting and queue.is_deaf():
            return False
        _refuse_at_exit()
        self.submitted = True
        _pinned.add(self)
        return True

    cpdef bint retarget(self, Queue queue) except -1:
        """News goes to another queue from now on. True if it went to another before: look at the progress once more."""
        queue = _read_queue(queue)
        if self.queue is queue or self.ended:
            return False
        self.queue = queue
        if not cml_request_retarget(self.c, queue.c):
            self.end()
        return True

    cdef orphan(self):
        # Its queue was abandoned, and so was who waits. Who reads the result nonetheless, in another context, points it
        # to a queue of its own before waiting.
        self.waiter = None
        if self.is_range:
            self.cancel()
        self.retarget(self.queue)

    def perform(self, bint headers_only=False):
        """Submit and wait on this thread; Ctrl-C stops the transfer. Raises what the error factory makes."""
        cdef Queue queue = _thread_queue()
        cdef bint news = False
        if self.begin(queue):
            queue = self.queue
            with nogil:
                news = cml_request_submit_and_wait(self.c, queue.c, 50)
            cml_queue_awake(queue.c)
        if news:
            self.hear(queue)
        if not self.ended:
            self.wait(headers_only)
        self.raise_if_failed()
        return self

    cdef hear(self, Queue queue):
        try:
            PyErr_CheckSignals()
            queue.drain()
        except BaseException:
            self.cancel()
            self.settle(queue)
            raise

    cpdef wait(self, bint headers_only=False, Py_ssize_t pieces=0):
        """Wait on this thread for the end, the headers, or a number of filled pieces."""
        cdef cml_progress progress
        cdef Queue queue = _thread_queue()
        self.retarget(queue)
        try:
            while True:
                cml_request_progress(self.c, &progress)
                if self.ended or self.has_forked or (headers_only and progress.headers_ready) or (
                        pieces > 0 and progress.pieces_done >= <uint64_t>pieces):
                    break
                if queue.wait(50):
                    queue.drain()
        except BaseException:
            self.cancel()
            self.settle(queue)
            raise

    cdef settle(self, Queue queue):
        # After a cancel: the engine lets go of our memory within moments; a second is a bound, not an expectation.
        cdef int turns = 20
        while not self.ended and turns > 0:
            turns -= 1
            if queue.wait(50):
                queue.drain()

    cpdef cancel(self):
        """Stop the transfer. From the return on, no byte of the caller's memory is read or written."""
        if self.ended or not self.submitted:
            return
        if self.to_file or self.is_bulk:
            with nogil:  # a write under way ends first, and its disk may be slow; a bulk job waits for the loops
                cml_request_cancel(self.c)
        else:
            cml_request_cancel(self.c)
        if not self.is_bulk:  # its end may be drained much later, by a thread that does something else meanwhile
            self.into = None
            self.let_go_of_source()

    cdef on_news(self, bint last):
        cdef cml_progress progress
        cml_request_progress(self.c, &progress)
        if last:
            self.end()
        if self.queue.abandoned or (_exiting and progress.error == CML_ERR_SHUTDOWN and self.queue.is_deaf()):
            return
        if self.is_range:
            _resolve_range(self, &progress)
        elif self.waiter is not None:
            self.waiter(self)

    cdef end(self):
        self.ended = True
        _pinned.discard(self)
        self.let_go_of_source()

    cdef let_go_of_source(self):
        self.source = None
        if isinstance(self.keep, Pieces):
            self.keep = None

    cdef forked(self):
        self.has_forked = True
        cml_request_revoke(self.c)
        if self.waiter is None:
            return
        if self.is_range:
            if not self.waiter.done():
                self.waiter.set_exception(_make_error(self))
        else:
            self.waiter(self)

    # -- the outcome

    @property
    def progress(self):
        """(headers_ready, finished, pieces_done, delivered, waiting)"""
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        return p.headers_ready, p.finished or self.has_forked, p.pieces_done, p.delivered, p.waiting

    @property
    def finished(self):
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        return p.finished or self.has_forked

    @property
    def error(self):
        """None, or the name of what went wrong (`cml_error_name`)."""
        cdef cml_progress p
        if self.has_forked:
            return "forked"
        cml_request_progress(self.c, &p)
        return None if not p.finished or p.error == CML_OK else cml_error_name(p.error).decode()

    @property
    def crt_error(self):
        """The CRT's name and text for it, or None."""
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        if p.crt_error == 0:
            return None
        return f"{aws_error_name(p.crt_error).decode()}: {aws_error_str(p.crt_error).decode()}"

    @property
    def os_error(self):
        """The errno behind the error "file", else 0."""
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        return p.os_error

    @property
    def file(self):
        """What `feed_file` was given, or None."""
        return self.keep if self.to_file else None

    @property
    def attempts(self):
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        return p.attempts

    @property
    def in_doubt(self):
        """Whether an attempt before the last may have been carried out, although its answer did not come."""
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        return p.in_doubt

    def raise_if_failed(self):
        """Raise the exception for the failure, if there was one."""
        if self.error is not None:
            if _exiting:
                _end_daemon()
            raise _make_error(self)

    @property
    def response(self):
        """(status, headers with lower-case names, content_length or None, (start, end, total) or None)"""
        cdef cml_response_view view
        if self.seen is None:
            cml_request_response(self.c, &view)
            if not self.headers_ready:
                return _view(&view)
            self.seen = _view(&view)  # it does not change any more
        return self.seen

    @property
    def headers_ready(self):
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        return p.headers_ready

    @property
    def failure(self):
        """(status, headers, content_length, range) of the last response, and the start of its body."""
        cdef cml_response_view view
        cdef const char *body
        cdef size_t length
        cml_request_failure(self.c, &view, &body, &length)
        return _view(&view), PyBytes_FromStringAndSize(body, <Py_ssize_t>length) if length else b""

    def take_body(self):
        """The collected body, once."""
        cdef cml_buffer *body = cml_request_take_body(self.c)
        if body == NULL:
            return Bytes(b"")
        return _bytes_of_buffer(body, body.length)

    @property
    def prefetched(self):
        """The whole body, being fetched unasked since it is short (complete when the request has ended); or None."""
        cdef cml_buffer *buffer = cml_request_prefetched(self.c)
        if buffer == NULL:
            return None
        return _bytes_of_buffer(buffer, buffer.length)

    def claim_before(self, uint64_t at):
        """Of such a body: 0 when its bytes before `at` are here, which are its consumer's from now on. Else how many
        pieces will be done when they are; then ask again.
        """
        if self.has_forked:
            raise _make_error(self)
        return cml_request_claim_before(self.c, at)

    # -- checksums of what is fetched in parts

    @property
    def announced_checksum(self):
        """(algorithm, base64 value) of the whole content, as the response has it, or None."""
        cdef const char *value
        cdef const char *name = cml_request_announced_checksum(self.c, &value)
        return None if name == NULL else (name.decode(), value.decode("latin-1"))

    @property
    def digest(self):
        """The CRC of the body, when it is there."""
        return cml_request_digest(self.c)

    def mark_digest(self, uint64_t offset):
        """Before submission: let `digest` be that of the body's bytes before `offset`."""
        cml_request_mark_digest(self.c, offset)

    # -- where the body goes

    def expect_whole(self):
        """Before submission: of a body that is fetched unasked there need be no news before it is all there."""
        cml_request_add_flags(self.c, CML_FLAG_WHOLE)

    cpdef feed_target(self, size_t size):
        """Room for a body of known size, in the pool's memory."""
        self.target = _new_buffer(size)
        self.target_size = <Py_ssize_t>size
        if size > 0:
            cml_request_feed(self.c, self.target.data, size)

    cpdef take_target(self):
        """The body of known size, when the request has ended well."""
        cdef cml_buffer *target = self.target
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        self.target = NULL
        return _bytes_of_buffer(target, <size_t>min(<uint64_t>self.target_size, p.delivered))

    def feed_into(self, target, size_t start, size_t length):
        """Room for `length` body bytes at `start` of a writable buffer, a `Chunk`, or a `Bytes` nobody else has yet.

        The memory must live until the request has ended or been cancelled: only the object is kept here, no export of
        its buffer, so that its owner can have it back at once after a cancel.
        """
        cdef Py_buffer view
        cdef uint8_t *data
        cdef size_t size
        if isinstance(target, Bytes):
            data = <uint8_t *>(<Bytes>target).data
            size = <size_t>(<Bytes>target).size
        elif isinstance(target, Chunk):
            data = <uint8_t *>PyBytes_AS_STRING((<Chunk>target).content)
            size = <size_t>len((<Chunk>target).content)
        else:
            PyObject_GetBuffer(target, &view, PyBUF_WRITABLE)
            data = <uint8_t *>view.buf
            size = <size_t>view.len
            PyBuffer_Release(&view)
        if start > size or length > size - start:
            raise ValueError(f"{length} bytes at {start} are more than the buffer's {size}")
        if self.into is None:
            self.into = []
        self.into.append(target)
        if length > 0 and not cml_request_feed(self.c, data + start, length):
            raise RuntimeError("this request takes no more room")

    def feed_scatter_into(self, buffers, spans):
        """Room for disjoint (start, end) parts of the body, by start, each in a writable buffer of its own."""
        cdef size_t at = 0
        if not cml_request_reserve_pieces(self.c, 2 * len(spans)):
            raise MemoryError()
        for buffer, (start, end) in zip(buffers, spans):
            if start > at:
                cml_request_feed(self.c, NULL, start - at)
            self.feed_into(buffer, 0, end - start)
            at = end

    def feed_scatter(self, spans):
        """Room for disjoint (start, end) parts of the body, by start, each in memory of its own."""
        cdef cml_buffer *buffer
        cdef uint64_t at = 0
        cdef list parts = []
        if not cml_request_reserve_pieces(self.c, 2 * len(spans)):
            raise MemoryError()
        for start, end in spans:
            if start > at:
                cml_request_feed(self.c, NULL, start - at)
            buffer = _new_buffer(end - start)
            parts.append((start, _bytes_of_buffer(buffer, end - start)))
            cml_request_feed(self.c, buffer.data, end - start)
            at = end
        self.keep = parts

    def take_scatter(self):
        """The parts, when the request has ended well; shorter where the object ends."""
        cdef cml_progress p
        cml_request_progress(self.c, &p)
        parts, self.keep = self.keep, None
        return [part[:max(0, <int64_t>p.delivered - start)] if start + len(part) > p.delivered else part
                for start, part in parts]

    def feed_file(self, file, uint64_t offset, uint64_t length):
        """Room for the next piece of the body in a file, or its descriptor, from `offset` on: written natively."""
        cdef int fd = file if isinstance(file, int) else file.fileno()
        cdef cml_fed fed = cml_request_feed_file(self.c, fd, offset, length)
        if fed == CML_FED_REFUSED:
            raise RuntimeError("this request has room for its body already")
        self.keep = file
        self.to_file = True
        if fed == CML_FED_AGAIN and self.ended:
            self.ended = False
            _pinned.add(self)

    def reserve_pieces(self, uint32_t pieces):
        """Before any room: how many pieces may wait at a time, when four are not enough."""
        if not cml_request_reserve_pieces(self.c, pieces):
            raise MemoryError()

    def feed_piece(self, Py_ssize_t size):
        """Room for the next piece of a stream: a `bytes`, filled in place. False when as many wait as may."""
        cdef bytes piece = PyBytes_FromStringAndSize(NULL, size)
        if not cml_request_feed(self.c, PyBytes_AS_STRING(piece), <size_t>size):
            return False
        if self.keep is None:
            self.keep = collections.deque()
        self.keep.append(piece)
        return True

    def claim_pieces(self):
        """How many pieces are full; what they hold is its consumer's from now on, and is not fetched anew."""
        cdef uint64_t delivered
        if self.has_forked:
            raise _make_error(self)
        return cml_request_claim(self.c, &delivered)

    def take_piece(self):
        """The oldest piece if it is full, or holds the end of the body; None if there is none yet."""
        cdef bytes piece
        cdef uint64_t before
        cdef uint64_t delivered
        if self.has_forked:
            raise _make_error(self)  # also for what had come: the parent hands that out
        if cml_request_claim(self.c, &delivered) <= <uint64_t>self.pieces_taken:
            return None
        piece = self.keep.popleft()
        before = <uint64_t>self.target_size  # bytes handed out so far
        if delivered - before < <uint64_t>len(piece):
            piece = piece[:delivered - before]
        self.pieces_taken += 1
        self.target_size += len(piece)
        return piece

    @property
    def pieces_waiting(self):
        return len(self.keep) if self.keep is not None else 0
