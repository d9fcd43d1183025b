# Bulk jobs: a `Request` that aws-c-s3 carries out. Binds engine/bulk.c; all under the GIL.

cdef dict _BULK_JOBS = {
    "get": CML_BULK_GET, "get_file": CML_BULK_GET_FILE, "put": CML_BULK_PUT, "put_file": CML_BULK_PUT_FILE,
    "put_writes": CML_BULK_PUT_WRITES, "copy": CML_BULK_COPY,
}


def can_bulk(Client client not None):
    """Whether aws-c-s3 can do what this client's options ask for."""
    return bool(cml_client_can_bulk(client.c))


def bulk_is_ready(Client client not None):
    """Whether `prepare_bulk` would return at once."""
    return bool(cml_client_bulk_is_ready(client.c))


def prepare_bulk(Client client not None):
    """Make the client of aws-c-s3. May block, on some EC2 instances for a second. Raises `OSError`."""
    cdef int error
    with nogil:
        error = cml_client_prepare_bulk(client.c)
    if error != 0:
        raise OSError(f"cannot prepare bulk transfers: {aws_error_str(error).decode()}")


def make_bulk(Request request not None, str job not None, *, uint64_t part_bytes, uint32_t max_concurrency,
              bint foreign_memory=False, file=None, checksum=None, expected=None, copy_source=None):
    """Have aws-c-s3 carry out a request that is not submitted yet; returns it."""
    cdef cml_bulk_options options
    cdef list kept = []
    if request.submitted:
        raise RuntimeError("this request has been submitted")
    memset(&options, 0, sizeof(options))
    options.job = <cml_bulk_job><int>_BULK_JOBS[job]
    options.part_bytes = part_bytes
    options.max_concurrency = max_concurrency
    options.foreign_memory = foreign_memory
    options.file = _text(file, kept)
    options.checksum = _text(checksum, kept)
    options.expected = _text(expected, kept)
    options.copy_source = _text(copy_source, kept)
    if not cml_request_set_bulk(request.c, &options):
        raise MemoryError()
    request.is_bulk = True
    return request


def write_bulk(Request request not None, data, bint end):
    """Bytes of `data` that were taken; None when there is no room: wait for one piece more. -1: the request ends."""
    cdef Py_buffer view
    cdef int64_t taken
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    with nogil:
        taken = cml_request_write(request.c, view.buf, view.len, end)
    PyBuffer_Release(&view)
    return None if taken == CML_WRITE_LATER else -1 if taken == CML_WRITE_FAILED else taken
