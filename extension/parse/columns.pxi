# Listings as Arrow columns (engine/columns.h): what a page's rows are put into when nobody wants Python objects.
# A `Columns` is filled while its page is read and never changes after that; slices of it share its memory, and so does
# whoever imports it through `__arrow_c_array__`. Capsules that nobody imports release what they hold themselves.

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New

cdef class Columns:
    """Rows of a listing in Arrow's layout, for anything that takes the Arrow PyCapsule interface."""

    cdef cml_columns *block  # a reference, given back in __dealloc__
    cdef int64_t start, stop

    def __init__(self):
        self.block = cml_columns_new()
        if self.block == NULL:
            raise MemoryError()

    def __dealloc__(self):
        if self.block != NULL:
            cml_columns_release(self.block)

    def __len__(self):
        return self.stop - self.start

    cdef Columns view(self, int64_t start, int64_t stop):
        # Of rows that will not change any more.
        cdef Columns part = Columns.__new__(Columns)
        part.block = cml_columns_acquire(self.block)
        part.start, part.stop = start, max(start, stop)
        return part

    def __getitem__(self, slice wanted):
        """Rows, without a copy; slices have no step."""
        start, stop, step = wanted.indices(self.stop - self.start)
        if step != 1:
            raise ValueError("a slice of columns has no step")
        return self.view(self.start + start, self.start + stop)

    cdef int add(self, const cml_row *row) except -1:
        return self.taken(cml_columns_add(self.block, row))

    cdef int extend(self, Columns rows) except -1:
        return self.taken(cml_columns_extend(self.block, rows.block, rows.start, rows.stop))

    cdef int taken(self, int result) except -1:
        self.stop = cml_columns_rows(self.block)
        if result == CML_COLUMNS_NO_MEMORY:
            raise MemoryError()
        if result == CML_COLUMNS_TOO_LARGE:
            raise ListError("one Arrow batch holds at most 2 GiB of paths: read the listing in chunks")
        return 0

    def path(self, Py_ssize_t index):
        """The path of a row, counted from the first or, negative, from behind the last."""
        cdef cml_row row
        if index < 0:
            index += self.stop - self.start
        if not 0 <= index < self.stop - self.start:
            raise IndexError("no such row")
        cml_columns_row(self.block, self.start + index, &row)
        return PyUnicode_DecodeUTF8(row.path.data, <Py_ssize_t>row.path.length, "surrogateescape")

    def dicts(self):
        """The rows as `parse_list_page` gives them otherwise."""
        cdef cml_row row
        cdef int64_t i, shown_us = 0
        cdef object shown = None
        cdef list found = []
        for i in range(self.start, self.stop):
            cml_columns_row(self.block, i, &row)
            if shown is None or row.modified_us != shown_us:
                shown, shown_us = _datetime(row.modified_us), row.modified_us
            found.append(_row_dict(&row, shown))
        return found

    def between(self, bytes after, bytes until):
        """The rows whose path is behind `after` and not behind `until`, by their bytes; None: no such bound."""
        cdef Columns kept = Columns()
        cdef cml_row row
        cdef int64_t i
        for i in range(self.start, self.stop):
            cml_columns_row(self.block, i, &row)
            if (after is None or _compared(&row.path, after) > 0) and \
                    (until is None or _compared(&row.path, until) <= 0):
                kept.add(&row)
        return kept

    def __arrow_c_schema__(self):
        """A capsule `arrow_schema`."""
        cdef ArrowSchema *schema = <ArrowSchema *>PyMem_Calloc(1, sizeof(ArrowSchema))
        if schema == NULL or not cml_columns_schema(schema):
            PyMem_Free(schema)
            raise MemoryError()
        return PyCapsule_New(schema, "arrow_schema", _free_schema)

    def __arrow_c_array__(self, requested_schema=None):
        """Capsules `arrow_schema` and `arrow_array`, whatever other schema was requested.

        Raises:
            ListError: a path is not UTF-8, which Arrow's strings have to be.
        """
        cdef int64_t odd = cml_columns_odd_row(self.block, self.start, self.stop)
        if odd < self.stop:
            raise ListError(f"{self.path(odd - self.start)!r} can't be in an Arrow batch, as its name, ETag or version "
                            "is not UTF-8: list without return_arrow")
        cdef ArrowArray *array = <ArrowArray *>PyMem_Calloc(1, sizeof(ArrowArray))
        if array == NULL or not cml_columns_export(self.block, self.start, self.stop, array):
            PyMem_Free(array)
            raise MemoryError()
        found = PyCapsule_New(array, "arrow_array", _free_array)
        return self.__arrow_c_schema__(), found


# Capsules' destructors: what was imported has no `release` any more.

cdef void _free_schema(object capsule) noexcept:
    cdef ArrowSchema *schema = <ArrowSchema *>PyCapsule_GetPointer(capsule, "arrow_schema")
    if schema.release != NULL:
        schema.release(schema)
    PyMem_Free(schema)


cdef void _free_array(object capsule) noexcept:
    cdef ArrowArray *array = <ArrowArray *>PyCapsule_GetPointer(capsule, "arrow_array")
    if array.release != NULL:
        array.release(array)
    PyMem_Free(array)


cdef int _compared(const cml_text *text, bytes other) noexcept:
    cdef size_t length = <size_t>len(other)
    cdef int order = memcmp(text.data, PyBytes_AS_STRING(other), min(text.length, length))
    return order if order != 0 else (text.length > length) - (text.length < length)


def join_columns(list pages):
    """All rows of some `Columns`, in one; the list is emptied, so that a page is let go of once its rows are copied.

    Where only one has any rows, nothing is copied.

    Raises:
        ListError: they are too many for one batch.
    """
    cdef Columns page, joined
    cdef cml_text_bytes text
    cdef int64_t rows = 0
    pages[:] = [page for page in pages if len(page) > 0]
    if len(pages) == 1:
        return pages.pop()
    joined = Columns()
    memset(&text, 0, sizeof(text))
    for page in pages:
        rows += page.stop - page.start
        cml_columns_count(page.block, page.start, page.stop, &text)
    joined.taken(cml_columns_reserve(joined.block, rows, &text))
    pages.reverse()
    while pages:
        joined.extend(pages.pop())
    return joined


def columns_of(objects):
    """`Columns` from dicts as `parse_list_page` gives them.

    Raises:
        ListError: an object has no date or no size, which a column can't be without.
    """
    cdef Columns columns = Columns()
    cdef cml_row row
    for meta in objects:
        path = meta["path"]
        if meta["last_modified"] is None or meta["size"] is None or meta["size"] < 0:
            raise ListError(f"{path!r} has no known date or size, and so can't be in an Arrow batch: list without "
                            "return_arrow")
        texts = [None if text is None else text.encode("utf-8", "surrogateescape")
                 for text in (path, meta["e_tag"], meta["version"])]
        row.path, row.e_tag, row.version = _text_of(texts[0]), _text_of(texts[1]), _text_of(texts[2])
        row.modified_us, row.size = _micros_of(meta["last_modified"]), meta["size"]
        columns.add(&row)
    return columns


cdef cml_text _text_of(bytes text) noexcept:
    # As long as `text` lives.
    cdef cml_text found
    found.data = PyBytes_AS_STRING(text) if text is not None else NULL
    found.length = len(text) if text is not None else 0
    return found


cdef int64_t _micros_of(value) except? -1:
    since = value - _EPOCH
    return (<int64_t>since.days * 86400 + <int64_t>since.seconds) * 1000000 + <int64_t>since.microseconds
