# What a reader reads without a plan: from what is kept, or as one short range somewhere. One call at a time, under the
# GIL; the request is waited for on the calling thread, or by a future of the running event loop.

cdef class PinnedRanges:
    """Short ranges of one version of an object, that with a strong ETag. Of this process only."""

    cdef Client client
    cdef bytes path
    cdef bytes etag
    cdef object context

    def __cinit__(self, Client client not None, str key not None, bytes etag not None, context):
        self.client = client
        self.path = _target(client, key)
        self.etag = etag
        self.context = context

    @property
    def is_inherited(self):
        """Whether it was made before a fork."""
        return self.client.generation != cml_runtime_generation()

    cdef Request of(self, uint64_t start, uint64_t end):
        # A request for bytes `start` to `end` (exclusive), to be submitted.
        cdef Request request = _range_request(self.client, self.path, start, end, self.context)
        cdef bytes content = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(end - start))
        cml_request_add_header(request.c, b"If-Match", 8, PyBytes_AS_STRING(self.etag), len(self.etag))
        request.into = [content]  # which nobody has yet
        cml_request_feed(request.c, <uint8_t *>PyBytes_AS_STRING(content), end - start)
        return request

    cdef bytes brought(self, Request request):
        # What a request that has ended well has brought; None of another version, or where it is not all of the range.
        cdef bytes content = request.into[0]
        cdef cml_progress progress
        cml_request_progress(request.c, &progress)
        return content if progress.delivered == len(content) and _has_etag(request, self.etag) else None


cdef class ShortReads:
    """A position in an object, what is kept of it, and what is known of how it is read."""

    cdef readonly int64_t size
    cdef public object at        # the position; it may be far behind the end
    cdef public object expected  # where a read goes on with the last one; an object's beginning goes on with nothing
    cdef public object stream    # what is ahead of the reader, or None
    cdef public int64_t window   # how much was fetched ahead last
    cdef readonly Extents kept
    cdef public PinnedRanges ranges  # how short ranges are asked for, where that takes no plan
    cdef int64_t block
    cdef int64_t most
    cdef int64_t missed[8]  # the blocks of the last reads somewhere
    cdef unsigned int misses

    def __init__(self, int64_t size, *, int64_t block_bytes, Py_ssize_t kept_bytes, int64_t range_bytes):
        self.size = size
        self.at = self.expected = 0
        self.kept = Extents(kept_bytes)
        self.block = block_bytes
        self.most = range_bytes
        memset(self.missed, 0xFF, sizeof(self.missed))

    def read_here(self, length):
        """So many bytes from the position on, or those that are left; None where that takes a plan."""
        found = self.begin_here(length)
        return self.end_here((<Request>found).perform()) if isinstance(found, Request) else found

    def read_here_async(self, length):
        """The same, or a future of a request with which `end_here` gives them. On an event loop."""
        found = self.begin_here(length)
        return _range_future_of(found, _loop_for_ranges()) if isinstance(found, Request) else found

    cdef object begin_here(self, length):
        # The bytes, where they are here; a request to be ended well and given to `end_here`; or None.
        cdef int64_t at
        cdef int64_t end
        cdef Extent extent
        if length == 0 or self.at >= self.size:
            return b""
        at = self.at
        end = min(self.at + length, self.size)
        extent = self.kept.find(at)
        if extent is not None:
            if extent.end < end:
                return None
            self.at = self.expected = end
            return extent.cut(at, end)
        if (at == self.expected or self.stream is not None or end - at > self.most or self.is_near(at, end - at)
                or self.ranges is None or self.ranges.is_inherited):
            return None
        return self.ranges.of(at, end)

    cpdef bytes end_here(self, Request request):
        """What was asked for at the position; None where only a plan can say what has come instead."""
        cdef bytes content = self.ranges.brought(request)
        if content is not None:
            self.window = 0
            self.miss(self.at)
            self.kept.add(Extent(self.at, content))
            self.at = self.expected = self.at + len(content)
        return content

    cpdef bint is_near(self, int64_t at, int64_t length):
        """Whether reads have shown that they stay in the block of `at`: two of the last eight somewhere were in it."""
        cdef int64_t number = at // self.block
        cdef int found = 0
        for each in self.missed:
            found += each == number
        return length < self.block and found >= 2

    cpdef miss(self, int64_t at):
        """Take note of a read somewhere."""
        self.missed[self.misses % 8] = at // self.block
        self.misses += 1
