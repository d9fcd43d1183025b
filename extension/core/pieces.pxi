# `Pieces`: several buffers that are one content, in order, without a copy of them. Any thread that holds the GIL.
#
# It pins the buffers for as long as it lives; a request that sends them keeps it.

cdef class Pieces:
    """Read-only buffers as one content, to be sent or summed up as they are."""

    cdef Py_buffer *views
    cdef cml_bytes *spans
    cdef Py_ssize_t count
    cdef Py_ssize_t size

    def __cinit__(self, buffers not None):
        cdef tuple held = tuple(buffers)  # to export one may run code that changes what they came in
        cdef Py_ssize_t most = len(held)
        self.views = <Py_buffer *>PyMem_Calloc(most, sizeof(Py_buffer))
        self.spans = <cml_bytes *>PyMem_Calloc(most, sizeof(cml_bytes))
        if self.views == NULL or self.spans == NULL:
            raise MemoryError()
        for buffer in held:
            PyObject_GetBuffer(buffer, &self.views[self.count], PyBUF_SIMPLE)
            self.spans[self.count].data = <const uint8_t *>self.views[self.count].buf
            self.spans[self.count].length = self.views[self.count].len
            self.size += self.views[self.count].len
            self.count += 1

    def __dealloc__(self):
        for i in range(self.count):
            PyBuffer_Release(&self.views[i])
        PyMem_Free(self.views)
        PyMem_Free(self.spans)

    def __len__(self):
        return self.size

    def join(self):
        """The content in one piece: a copy."""
        cdef bytes whole = PyBytes_FromStringAndSize(NULL, self.size)
        cdef char *to = PyBytes_AS_STRING(whole)
        for i in range(self.count):
            memcpy(to, self.spans[i].data, self.spans[i].length)
            to += self.spans[i].length
        return whole
