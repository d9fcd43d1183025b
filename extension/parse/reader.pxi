# XML for Python: a reader over the scanner (engine/xml.h), which reads a body where it is; and small documents as a
# list of their elements. Listing pages (listing.pxi) are read by the same reader. Runs under the GIL.
#
# Always true: nothing is handed out of a document that is cut or malformed; bytes that are not UTF-8 become surrogates,
# as in os.fsdecode.

from cpython.mem cimport PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8

cdef enum:
    _EXCERPT = 80  # bytes of foreign text in a message
    _PATHS = 32 << 20  # characters of all paths of a document: far beyond any that is meant


class ListError(ValueError):
    """The answer is not a complete, well-formed page of a listing.

    `code` and `message` are the provider's own when it sent an error document, else None.
    """

    def __init__(self, text, code=None, message=None):
        super().__init__(text)
        self.code = code
        self.message = message


cdef class _Reader:
    """A scanner over a body, and the content of the element last read."""

    cdef cml_xml xml
    cdef Py_buffer view
    cdef char *scratch  # holds content that does not stand in the body as it is: never more than there is of the body
    cdef size_t used  # of it
    cdef bint keeps  # content stays there for longer than the next one: a row is being put together
    cdef const char *text
    cdef size_t length

    def __cinit__(self, body, *ignored):
        PyObject_GetBuffer(body, &self.view, PyBUF_SIMPLE)
        cml_xml_start(&self.xml, <const char *>self.view.buf, <size_t>self.view.len)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)
        PyMem_Free(self.scratch)

    cdef int next(self) except -1:
        cdef int token = cml_xml_next(&self.xml)
        if token == CML_XML_ERROR:
            raise self.malformed()
        return token

    cdef int skip(self) except -1:
        if not cml_xml_skip(&self.xml):
            raise self.malformed()
        return 0

    cdef int read(self) except -1:
        # After OPEN: the content of an element without elements, to `text` and `length`.
        if not cml_xml_leaf(&self.xml):
            raise self.malformed()
        return self.take_text()

    cdef int take_text(self) except -1:
        self.text = self.xml.text
        self.length = self.xml.text_len
        if not self.keeps:
            self.used = 0
        if not self.xml.plain:
            self.length = cml_xml_decode(self.text, self.length, self.room(self.length))
            self.keep_scratch()
        return 0

    cdef char *room(self, size_t size) except NULL:
        # For `size` bytes, of which keep_scratch() takes what has become of them.
        if self.scratch == NULL:
            self.scratch = <char *>PyMem_Malloc(<size_t>self.view.len + 1)
        if self.scratch == NULL or size > <size_t>self.view.len - self.used:
            raise MemoryError()
        return self.scratch + self.used

    cdef void keep_scratch(self) noexcept:
        self.text = self.scratch + self.used
        self.used += self.length

    cdef str string(self):
        return PyUnicode_DecodeUTF8(self.text, <Py_ssize_t>self.length, "surrogateescape")

    cdef bint holds(self, const char *what):
        return self.length == strlen(what) and memcmp(self.text, what, self.length) == 0

    cdef str name(self):
        return _excerpt(self.xml.name, self.xml.name_len)

    cdef object malformed(self):
        problem = self.xml.problem.decode()
        return ListError(f"the answer is not well-formed XML: {problem}, at byte {cml_xml_offset(&self.xml)}")


cdef str _excerpt(const char *text, size_t length):
    cut = PyUnicode_DecodeUTF8(text, <Py_ssize_t>min(length, _EXCERPT), "backslashreplace")
    return cut + "..." if length > _EXCERPT else cut


cdef list _leaves(_Reader reader):
    cdef list leaves = [], names = []
    cdef int token = CML_XML_TEXT
    cdef bint leaf = False
    cdef Py_ssize_t budget = _PATHS
    text = ""
    while token != CML_XML_END:
        token = reader.next()
        if token == CML_XML_OPEN:
            names.append(PyUnicode_DecodeUTF8(reader.xml.name, <Py_ssize_t>reader.xml.name_len, "surrogateescape"))
            leaf, text = True, ""
        elif token == CML_XML_TEXT and leaf:
            reader.take_text()
            text = reader.string()
        elif token == CML_XML_CLOSE:
            if leaf:
                path = "/".join(names)
                budget -= len(path)
                if budget < 0:
                    raise ListError("the answer's element names are too long to be meant")
                leaves.append((path, text))
            names.pop()
            leaf = False
    return leaves


def xml_fields(body, Py_ssize_t limit_bytes=1 << 20):
    """The elements that hold no others, in order: path of local names, slash-joined from the root on, and text.

    For small documents, such as the answer to CompleteMultipartUpload. An empty element has the text "".

    Raises:
        ListError: not one well-formed XML document, or more than `limit_bytes`.
    """
    cdef _Reader reader = _Reader(body)
    if reader.view.len > limit_bytes:
        raise ListError(f"the answer has {reader.view.len} bytes; at most {limit_bytes} are read as one document")
    return _leaves(reader)
