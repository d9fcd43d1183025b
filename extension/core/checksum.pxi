# Checksums of what is to be uploaded. Any thread; the GIL is given up while there is something to read or to sum.

cdef enum:
    _SUM_STEP_BYTES = 1 << 20  # of a file, at a time; signals are looked at after each
    _SUM_MEMORY_BYTES = 64 << 20  # of memory, likewise


def checksum(str algorithm not None, body, file):
    """The base64 text of S3's checksum headers, of a buffer or `Pieces`, or of (file, offset, length).

    Raises `EOFError` where the file ends before, and `OSError`.
    """
    cdef uint8_t digest[64]
    cdef size_t size
    cdef bytes name = algorithm.encode("ascii")
    cdef cml_sum *sum
    _ensure_runtime()  # hashes are a library's that it prepares
    sum = cml_checksum_begin(PyBytes_AS_STRING(name))
    if sum == NULL:
        raise ValueError(f"unknown checksum algorithm {algorithm!r}")
    try:
        if isinstance(body, Pieces):
            for i in range((<Pieces>body).count):
                _add_memory(sum, (<Pieces>body).spans[i])
        elif body is not None:
            _add_buffer(sum, body)
        else:
            _add_file(sum, file[0].fileno(), file[1], file[2])
    finally:
        size = cml_checksum_end(sum, digest)
    return binascii.b2a_base64(digest[:size], newline=False).decode("ascii")


cdef int _add_buffer(cml_sum *sum, body) except -1:
    cdef Py_buffer view
    cdef cml_bytes span
    PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
    span.data = <const uint8_t *>view.buf
    span.length = view.len
    try:
        _add_memory(sum, span)
    finally:
        PyBuffer_Release(&view)
    return 0


cdef int _add_memory(cml_sum *sum, cml_bytes span) except -1:
    cdef size_t done = 0, step
    while done < span.length:
        step = min(span.length - done, <size_t>_SUM_MEMORY_BYTES)
        with nogil:
            cml_checksum_add(sum, span.data + done, step)
        PyErr_CheckSignals()
        done += step
    return 0


cdef int _add_file(cml_sum *sum, int fd, int64_t offset, int64_t length) except -1:
    # Not mapped: who cuts a mapped file kills the process that reads it.
    cdef cml_buffer *buffer = _new_buffer(min(length, <int64_t>_SUM_STEP_BYTES) if length > 0 else 1)
    cdef int64_t done = 0
    cdef ssize_t step
    cdef int failure
    try:
        while done < length:
            with nogil:
                step = pread(fd, buffer.data, min(<size_t>(length - done), <size_t>_SUM_STEP_BYTES), offset + done)
                failure = errno if step < 0 else 0
                if step > 0:
                    cml_checksum_add(sum, buffer.data, step)
            PyErr_CheckSignals()
            if failure and failure != EINTR:
                raise OSError(failure, os.strerror(failure))
            if step == 0:
                raise EOFError(f"the file ends {length - done} bytes too early")
            done += step if step > 0 else 0
    finally:
        cml_buffer_release(buffer)
    return 0


def combine_digests(str algorithm not None, uint64_t first, uint64_t second, uint64_t second_length):
    """The CRC of two adjoining spans, from the CRC of each."""
    return cml_digest_combine(algorithm.encode("ascii"), first, second, second_length)
