# What a response says before its body: as Python has it, and by itself where that would cost too much. Under the GIL.

cdef _view(cml_response_view *view):
    cdef dict headers = {}
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t length = <Py_ssize_t>view.headers_len
    while at < length:
        name = (<bytes>(view.headers + at)).lower().decode("latin-1")
        at += strlen(view.headers + at) + 1
        value = (<bytes>(view.headers + at)).decode("utf-8", "surrogateescape")
        at += strlen(view.headers + at) + 1
        if name in headers:  # cookies can't be told apart by commas (RFC 6265 3)
            value = f"{headers[name]}\n{value}" if name == "set-cookie" else f"{headers[name]}, {value}"
        headers[name] = value
    return (view.status, headers, None if view.content_length < 0 else view.content_length,
            (view.range_start, view.range_end, view.total) if view.has_range else None)


cdef bint _has_etag(Request request, bytes etag):
    # Servers that take no notice of If-Match are found out by what they answer.
    cdef cml_response_view view
    cdef const char *name
    cdef const char *value
    cdef const char *end
    cml_request_response(request.c, &view)
    name, end = view.headers, view.headers + view.headers_len
    while name < end:
        value = name + strlen(name) + 1
        if strcasecmp(name, b"etag") == 0:
            return strcmp(value, PyBytes_AS_STRING(etag)) == 0
        name = value + strlen(value) + 1
    return False
