# What a reader keeps of an object: the spans it read last, each at its place, up to so many bytes together. One call
# at a time, under the GIL.
#
# Spans may overlap, but none lies within another: their ends are in the order of their starts. What was read twice is
# the same in both: of one version of the object.

cdef class Extent:
    """A span of the object that is here."""

    cdef readonly int64_t start
    cdef readonly int64_t end  # the place behind it
    cdef readonly bytes content

    def __cinit__(self, int64_t start, bytes content not None):
        self.start = start
        self.end = start + len(content)
        self.content = content

    cpdef bytes cut(self, int64_t start, int64_t end):
        """The bytes from `start` to `end`, or to where the span ends; all of it without a copy."""
        return self.content[start - self.start : end - self.start]


cdef class Extents:
    """The spans that were used last."""

    cdef Py_ssize_t limit
    cdef Py_ssize_t size
    cdef list placed  # by where they start
    cdef object used  # the same, the one that was used last at the end

    def __cinit__(self, Py_ssize_t limit_bytes):
        self.limit = limit_bytes
        self.clear()

    cpdef Extent find(self, int64_t at):
        """A span with the byte `at`."""
        cdef Py_ssize_t place = self.behind(at)
        cdef Extent extent
        if place == 0:
            return None
        extent = self.placed[place - 1]
        if at >= extent.end:
            return None
        self.used.move_to_end(extent)
        return extent

    cpdef add(self, Extent extent):
        """Keep a span, if it leaves room for others."""
        cdef Py_ssize_t place
        if len(extent.content) > self.limit // 2:
            return
        place = self.behind(extent.start)
        if place > 0:
            if (<Extent>self.placed[place - 1]).end >= extent.end:
                return  # within another
            if (<Extent>self.placed[place - 1]).start == extent.start:
                place -= 1
        while place < len(self.placed) and (<Extent>self.placed[place]).end <= extent.end:
            self.drop(place)
        self.placed.insert(place, extent)
        self.used[extent] = None
        self.size += len(extent.content)
        while self.size > self.limit:
            self.drop(self.behind((<Extent>next(iter(self.used))).start) - 1)

    def clear(self):
        """Keep nothing."""
        self.placed = []
        self.used = collections.OrderedDict()
        self.size = 0

    cdef Py_ssize_t behind(self, int64_t at):
        # The place of the first that starts behind `at`.
        cdef Py_ssize_t first = 0
        cdef Py_ssize_t last = len(self.placed)
        cdef Py_ssize_t middle
        while first < last:
            middle = (first + last) >> 1
            if (<Extent>self.placed[middle]).start <= at:
                first = middle + 1
            else:
                last = middle
        return first

    cdef int drop(self, Py_ssize_t place) except -1:
        cdef Extent extent = self.placed.pop(place)
        del self.used[extent]
        self.size -= len(extent.content)
        return 0
