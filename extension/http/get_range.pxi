# The hottest path: a range of known length straight to the engine, without a plan. Under the GIL; what waits is the
# request (see request.pxi), and the future is resolved where its end is drained.

cdef object _range_future = None


cdef object _prepare_ranges():
    global _range_future

    # A future whose cancel reaches the wire. Subclassing costs less than a done callback, which is a loop turn each.
    class RangeFuture(call_future()):
        request = None

        def cancel(self, msg=None):
            if not super().cancel(msg):
                return False
            request, self.request = self.request, None
            if request is not None:
                request.cancel()
            return True

    _range_future = RangeFuture


cdef Request _range_request(Client client, bytes path, uint64_t start, uint64_t end, context):
    cdef Request request
    if client.generation != cml_runtime_generation():
        raise RuntimeError("this client was made before a fork")
    request = Request(client, "GET", path, context=context, sink="buffer", cut=client.cuts)
    cml_request_set_range(request.c, CML_RANGE_BOUNDED, start, end)
    return request


def get_range(Client client not None, str key not None, uint64_t start, uint64_t end, context):
    """Bytes `start` to `end` (exclusive) of an object; waits on this thread."""
    cdef Request request = _range_request(client, _target(client, key), start, end, context)
    request.feed_target(end - start)
    request.perform()
    return request.take_target()


def get_range_async(Client client not None, str key not None, uint64_t start, uint64_t end, context):
    """The same as a future of the running event loop; None where none is running."""
    cdef Request request
    loop = _loop_for_ranges()
    if loop is None:
        return None
    request = _range_request(client, _target(client, key), start, end, context)
    request.feed_target(end - start)
    return _range_future_of(request, loop)


cdef object _loop_for_ranges():
    if _range_future is None:
        _prepare_ranges()
    return _running_loop()


cdef object _range_future_of(Request request, loop):
    # Submit it: a future of its target, or of itself where its room is another's.
    future = _range_future(loop=loop)
    request.is_range = True
    request.waiter = future
    request.submit(_loop_queue(loop))
    future.request = request
    return future


cdef _resolve_range(Request request, cml_progress *progress):
    # When a request's end has been drained.
    future = request.waiter
    if future is None or not progress.finished:
        return
    gone = future.done() or future.get_loop().is_closed()
    error = None if gone or progress.error == CML_OK else _make_error(request)
    request.waiter = None  # from here on nothing is told again that a signal's handler breaks off
    future.request = None
    if gone:
        return
    if error is None:
        future.set_result(request.take_target() if request.into is None else request)
    elif getattr(error, "take_over", None) is None or not error.take_over(future):
        future.set_exception(error)


cdef bytes _target(Client client, str key):
    return _path(client.base, key) + client.query


cdef bytes _path(bytes base, str key):
    # Percent-encoding (RFC 3986 2.1) of all but the unreserved characters and "/", exactly once.
    if not key:  # what the base names, not what is below it
        return base[:-1] if len(base) > 1 and base.endswith(b"/") else base
    cdef bytes raw = key.encode("utf-8")
    cdef const uint8_t *source = <const uint8_t *>PyBytes_AS_STRING(raw)
    cdef Py_ssize_t length = len(raw)
    cdef Py_ssize_t i
    cdef Py_ssize_t at = len(base)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, at + 3 * length)
    cdef char *to = PyBytes_AS_STRING(out)
    cdef const char *digits = b"0123456789ABCDEF"
    memcpy(to, PyBytes_AS_STRING(base), at)
    for i in range(length):
        if _plain[source[i]]:
            to[at] = source[i]
            at += 1
        else:
            to[at] = b'%'
            to[at + 1] = digits[source[i] >> 4]
            to[at + 2] = digits[source[i] & 15]
            at += 3
    return out[:at]


def encode_path(bytes base not None, str key not None):
    """A request path: `base`, then the key percent-encoded once; for an empty key `base` without its last slash."""
    return _path(base, key)


cdef bint _plain[256]
for _i in range(256):
    _plain[_i] = chr(_i) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
