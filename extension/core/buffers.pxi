# `Bytes`: an immutable view of pooled memory, shared by its slices. Any thread that holds the GIL.
#
# A Bytes owns one reference on its buffer; slices and exported views own theirs. The memory goes back to the pool when
# the last of them is gone. Content never changes once a Bytes has been handed out.

cdef class Bytes:
    """Immutable bytes received from a store: the buffer protocol without a copy.

    Compares and hashes like the `bytes` of the same content; slices share the memory.
    """

    cdef cml_buffer *buffer
    cdef const uint8_t *data
    cdef Py_ssize_t size
    cdef bytes owner  # set instead of buffer when the content is a Python object's
    cdef object __weakref__

    def __init__(self, buf=b""):
        self.owner = buf if type(buf) is bytes else bytes(memoryview(buf))
        self.data = <const uint8_t *>PyBytes_AS_STRING(self.owner)
        self.size = len(self.owner)

    def __dealloc__(self):
        cml_buffer_release(self.buffer)

    def __len__(self):
        return self.size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, <void *>self.data, self.size, 1, flags)

    def __getitem__(self, index):
        cdef Py_ssize_t start, stop, step, length
        if isinstance(index, slice):
            start, stop, step = index.indices(self.size)
            length = len(range(start, stop, step))
            if step != 1:
                return Bytes(self.to_bytes()[index])
            return _bytes_part(self, start, length)
        start = PyNumber_AsSsize_t(index, IndexError)
        if start < 0:
            start += self.size
        if not 0 <= start < self.size:
            raise IndexError("index out of range")
        return self.data[start]

    def to_bytes(self):
        """A copy as Python `bytes`."""
        if self.owner is not None and self.size == len(self.owner):
            return self.owner
        return PyBytes_FromStringAndSize(<const char *>self.data, self.size)

    def __bytes__(self):
        return self.to_bytes()

    def __eq__(self, other):
        cdef Py_buffer view
        if not PyObject_CheckBuffer(other):
            return NotImplemented
        PyObject_GetBuffer(other, &view, PyBUF_SIMPLE)
        equal = view.len == self.size and memcmp(view.buf, self.data, self.size) == 0
        PyBuffer_Release(&view)
        return equal

    def __hash__(self):
        return hash(self.to_bytes())  # a memoryview's hash asks its exporter's, which is this

    def __reduce__(self):
        return Bytes, (self.to_bytes(),)

    def __repr__(self):
        return f"Bytes({self.to_bytes()!r})" if self.size <= 64 else f"<Bytes of {self.size} bytes>"

    def __contains__(self, item):
        return item in self.to_bytes()

    def __add__(self, other):
        return Bytes(bytes(self) + bytes(memoryview(other)))

    def __mul__(self, count):
        return Bytes(self.to_bytes() * count)

    def decode(self, encoding="utf-8", errors="strict"):
        """The text, as `bytes.decode`; without a copy of the bytes."""
        return str(memoryview(self), encoding, errors)

    def __getattr__(self, name):
        if name.startswith("_") or not hasattr(bytes, name):
            raise AttributeError(f"'Bytes' object has no attribute {name!r}")
        return getattr(self.to_bytes(), name)


cdef Bytes _bytes_part(Bytes whole, Py_ssize_t start, Py_ssize_t length):
    cdef Bytes part = Bytes.__new__(Bytes)
    part.buffer = whole.buffer
    part.owner = whole.owner
    if part.buffer != NULL:
        cml_buffer_acquire(part.buffer)
    part.data = whole.data + start
    part.size = length
    return part


cdef Bytes _bytes_of_buffer(cml_buffer *buffer, size_t length):
    # Takes over the caller's reference.
    cdef Bytes result = Bytes.__new__(Bytes)
    result.buffer = buffer
    result.data = buffer.data
    result.size = <Py_ssize_t>length
    return result


cdef cml_buffer *_new_buffer(size_t length) except NULL:
    cdef cml_buffer *buffer
    if length < 1 << 20:
        buffer = cml_buffer_new(length)  # to give up the GIL for so little would cost more, with many threads much more
    else:
        with nogil:
            buffer = cml_buffer_new(length)
    if buffer == NULL:
        raise MemoryError(f"no memory for a buffer of {length} bytes")
    return buffer


def new_bytes(Py_ssize_t size):
    """A `Bytes` of that size, of unknown content, for requests to fill before anybody else gets it."""
    if size == 0:
        return Bytes(b"")
    return _bytes_of_buffer(_new_buffer(<size_t>size), <size_t>size)


cdef class Chunk:
    """A `bytes` that requests fill before anybody sees it; it counts against the process's budget until then."""

    cdef bytes content

    def __dealloc__(self):
        if self.content is not None:
            cml_pool_unclaim(<size_t>len(self.content))

    def take(self):
        """The content, once."""
        cdef bytes content = self.content
        self.content = None
        cml_pool_unclaim(<size_t>len(content))
        return content


def new_chunk(Py_ssize_t size, bint must):
    """A `Chunk`; or None where it would not fit into the budget, unless it `must` be given."""
    cdef Chunk result
    if not cml_pool_claim(<size_t>size, must):
        return None
    result = Chunk.__new__(Chunk)
    try:
        result.content = PyBytes_FromStringAndSize(NULL, size)
    except BaseException:
        cml_pool_unclaim(<size_t>size)
        raise
    cml_advise_huge(PyBytes_AS_STRING(result.content), <size_t>size)
    return result


cdef class Claim:
    """Bytes that count against the process's budget as long as this object lives."""

    cdef size_t size

    def __dealloc__(self):
        cml_pool_unclaim(self.size)


def claim(size_t size, bint must):
    """A `Claim`; or None where it would not fit into the budget, unless it `must` be given."""
    cdef Claim result = Claim.__new__(Claim)
    if not cml_pool_claim(size, must):
        return None
    result.size = size
    return result


@cython.no_gc  # the collector would take the view's object away, and the export would never end
cdef class Exported:
    """A buffer's memory as plain bytes, whatever its items are, exported until this object is gone.

    Raises `BufferError` for memory that is not contiguous or, unless `writable` is False, not writable.
    """

    cdef Py_buffer view

    def __cinit__(self, target, *, bint writable=True):
        PyObject_GetBuffer(target, &self.view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS if writable else PyBUF_SIMPLE)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.view.buf, self.view.len, 0, flags)
