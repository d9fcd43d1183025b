# S3's listing pages as Python objects or as columns (columns.pxi). Runs under the GIL: nearly all of the time goes
# into making those objects. The page is read where it is (reader.pxi); a row is slices of it, or of a scratch buffer
# for what stands there in another form; the only strings made are the final ones.
#
# Always true: a page is a result only once its whole document has been read. Nothing is handed out of one that is cut,
# malformed or contradicts itself; bytes of a key that are not UTF-8 become surrogates, as in os.fsdecode.

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport UINT64_MAX

cdef enum:
    _STAMP = 40  # bytes of the longest date that is remembered

cdef enum:  # fields of a row, as bits
    _PATH = 1
    _MODIFIED = 2
    _SIZE = 4
    _E_TAG = 8
    _VERSION = 16
    _NEEDED = 7

cdef class _ListPage(_Reader):
    cdef bytes strip
    cdef bint asked  # the request has asked for encoded keys
    cdef int encoded  # they are: yes, no, not known yet (-1)
    cdef bint begun  # a key has been read: from here on `encoded` is fixed
    cdef cml_row row  # the object that is being read: slices of the body and the scratch buffer
    cdef int seen  # its fields
    cdef char stamp[_STAMP]  # the date last read: many objects of a page share theirs
    cdef size_t stamp_length
    cdef int64_t stamp_us
    cdef int64_t shown_us
    cdef object shown  # `shown_us` as a datetime
    cdef list objects, prefixes
    cdef Columns columns  # where rows go, else None: they become dicts in `objects`
    cdef object truncated, token, marker, prefix, key_count

    def __init__(self, body, str strip_prefix, bint asked, bint columns=False):
        self.strip = strip_prefix.encode("utf-8", "surrogateescape")
        self.asked = asked
        self.encoded = -1
        self.objects = []
        self.prefixes = []
        self.columns = Columns() if columns else None

    @property
    def found(self):
        return self.objects if self.columns is None else self.columns

    cdef int parse(self) except -1:
        cdef int token
        self.open_root()
        while True:
            token = self.next()
            if token == CML_XML_OPEN:
                self.take_field()
            elif token == CML_XML_CLOSE:
                break
        self.next()  # the end, or an error
        return self.conclude()

    cdef int open_root(self) except -1:
        return self.open_page("ListBucketResult")

    cdef int open_page(self, str root) except -1:
        if self.view.len == 0:
            raise ListError("the answer is empty, not a page of a listing")
        if cml_xml_next(&self.xml) == CML_XML_ERROR:
            start = _excerpt(<const char *>self.view.buf, self.view.len)
            raise ListError(f"the answer is not a page of a listing ({self.xml.problem.decode()}): {start!r}")
        if self.name() == root:
            return 0
        if not cml_xml_is(&self.xml, "Error"):
            raise ListError(f"the answer is a document <{self.name()}>, not a page of a listing")
        fields = dict(_leaves(_Reader(self.view.obj)))
        code, message = fields.get("Error/Code"), fields.get("Error/Message")
        raise ListError(f"the answer is an error document: {code}: {message}", code, message)

    cdef int take_field(self) except -1:
        if cml_xml_is(&self.xml, "Contents"):
            self.take_object()
        elif cml_xml_is(&self.xml, "CommonPrefixes"):
            self.take_prefixes()
        elif cml_xml_is(&self.xml, "IsTruncated"):
            self.truncated = self.read_bool(self.truncated)
        elif cml_xml_is(&self.xml, "NextContinuationToken"):
            self.token = self.read_string(self.token)
        elif cml_xml_is(&self.xml, "NextMarker"):
            self.marker = self.read_string(self.marker)
        elif cml_xml_is(&self.xml, "Prefix"):
            self.prefix = self.read_string(self.prefix)
        elif cml_xml_is(&self.xml, "KeyCount"):
            self.key_count = self.read_number(self.key_count)
        elif cml_xml_is(&self.xml, "EncodingType"):
            self.take_encoding()
        else:
            self.skip()
        return 0

    cdef int take_object(self) except -1:
        cdef int token
        self.settle_encoding()
        self.begin_row()
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                break
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Key"):
                self.take_path()
            elif cml_xml_is(&self.xml, "LastModified"):
                self.take_time()
            elif cml_xml_is(&self.xml, "Size"):
                self.take_size()
            elif cml_xml_is(&self.xml, "ETag"):
                self.take_text_field(_E_TAG, &self.row.e_tag)
            elif cml_xml_is(&self.xml, "Generation"):  # Cloud Storage's
                self.take_text_field(_VERSION, &self.row.version)
            else:
                self.skip()
        return self.end_row("an object without Key, LastModified or Size")

    # --- a row: begun, its fields in any order, each once, and made into what is wanted ---

    cdef int begin_row(self) except -1:
        memset(&self.row, 0, sizeof(self.row))
        self.seen = 0
        self.used = 0
        self.keeps = True
        return 0

    cdef int read_field(self, int field) except -1:
        self.read()
        if self.seen & field:
            raise self.garbled("a second time")
        self.seen |= field
        return 0

    cdef int take_path(self) except -1:
        self.read_field(_PATH)
        self.as_path()
        self.row.path.data, self.row.path.length = self.text, self.length
        return 0

    cdef int take_text_field(self, int field, cml_text *into) except -1:
        self.read_field(field)
        into.data, into.length = self.text if self.length > 0 else NULL, self.length
        return 0

    cdef int take_size(self) except -1:
        self.read_field(_SIZE)
        if not _unsigned(self.text, self.length, &self.row.size):
            raise self.garbled()
        return 0

    cdef int take_time(self) except -1:
        self.read_field(_MODIFIED)
        if self.stamp_length != self.length or self.length == 0 or \
                memcmp(self.text, self.stamp, self.length) != 0:
            if not self.parse_time(&self.stamp_us):
                self.stamp_length = 0
                raise self.garbled()
            self.stamp_length = self.length if self.length <= _STAMP else 0
            memcpy(self.stamp, self.text, self.stamp_length)
        self.row.modified_us = self.stamp_us
        return 0

    cdef bint parse_time(self, int64_t *us):
        return _timestamp(self.text, self.length, us)

    cdef int end_row(self, str lacks) except -1:
        self.keeps = False
        if self.seen & _NEEDED != _NEEDED:
            path = _optional(&self.row.path) if self.seen & _PATH else None
            raise ListError(f"the page has {lacks}, before byte {cml_xml_offset(&self.xml)}: {path!r}")
        if self.columns is not None:
            return self.columns.add(&self.row)
        self.objects.append(self.as_dict())
        return 0

    cdef dict as_dict(self):
        cdef cml_row *row = &self.row
        if self.shown is None or row.modified_us != self.shown_us:
            self.shown, self.shown_us = _datetime(row.modified_us), row.modified_us
        return _row_dict(row, self.shown)

    cdef int take_prefixes(self) except -1:
        cdef int token
        self.settle_encoding()
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                return 0
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Prefix"):
                self.prefixes.append(self.read_path(None))
            else:
                self.skip()

    cdef int conclude(self) except -1:
        if self.encoded > 0:
            self.prefix = _unquoted(self.prefix)
            self.marker = _unquoted(self.marker)
        self.token = self.token or self.marker or None
        if self.truncated is None:
            self.truncated = self.token is not None
        if not self.truncated:
            self.token = None
        elif self.token is None:
            raise ListError("the page says that it is truncated, and not where the next one begins")
        return 0

    # --- are keys percent-encoded? what the page says counts, also where it says it after the keys ---

    cdef int take_encoding(self) except -1:
        cdef bint encoded
        self.read()
        encoded = self.holds("url")
        if self.length > 0 and not encoded:
            raise self.garbled()
        if self.begun and encoded != self.encoded:
            raise self.garbled("after keys, and not asked for")
        self.encoded = encoded
        return 0

    cdef int settle_encoding(self) except -1:
        if not self.begun:
            self.begun = True
            if self.encoded < 0:
                self.encoded = self.asked and _says_url_ahead(self.xml)
        return 0

    # --- the content of an element. `previous` is what one of the same name has brought: None in a sound page ---

    cdef int read_once(self, previous) except -1:
        self.read()
        if previous is not None:
            raise self.garbled("a second time")
        return 0

    cdef str read_string(self, previous):
        self.read_once(previous)
        return self.string()

    cdef str read_path(self, previous):
        self.read_once(previous)
        self.as_path()
        return self.string()

    cdef int as_path(self) except -1:
        # The key just read, decoded and without the store's prefix.
        cdef size_t cut = <size_t>len(self.strip)
        cdef char *out
        if self.encoded > 0:
            if self.xml.plain:
                out = self.room(self.length)
                self.length = _unquote(self.text, self.length, out, self.plus_is_space())
                self.keep_scratch()
            else:  # it is in the scratch buffer already, and is the last that came there
                out = self.scratch + self.used - self.length
                self.length = _unquote(out, self.length, out, self.plus_is_space())
        if self.length < cut or memcmp(self.text, PyBytes_AS_STRING(self.strip), cut) != 0:
            raise self.garbled(f"which does not begin with {self.strip!r}")
        if self.length == 0:
            raise self.garbled()
        self.text += cut
        self.length -= cut
        return 0

    cdef bint plus_is_space(self):
        return True

    cdef object read_number(self, previous):
        cdef uint64_t value = 0
        self.read_once(previous)
        if not _unsigned(self.text, self.length, &value):
            raise self.garbled()
        return value

    cdef object read_bool(self, previous):
        self.read_once(previous)
        if not (self.holds("true") or self.holds("false")):
            raise self.garbled()
        return self.holds("true")

    cdef object garbled(self, why="which is not valid"):
        # Of the element just read: the scanner still has its name.
        found = _excerpt(self.text, self.length)
        return ListError(f"the page has <{self.name()}> {found!r} {why}, before byte {cml_xml_offset(&self.xml)}")


cdef object _optional(const cml_text *text):
    if text.data == NULL:
        return None
    return PyUnicode_DecodeUTF8(text.data, <Py_ssize_t>text.length, "surrogateescape")


cdef dict _row_dict(const cml_row *row, modified):
    return {"path": _optional(&row.path), "last_modified": modified, "size": row.size,
            "e_tag": _optional(&row.e_tag), "version": _optional(&row.version)}


cdef bint _says_url_ahead(cml_xml xml) noexcept:
    # With a copy of the scanner. What is malformed ahead is found again, and reported, by the scanner itself.
    cdef int token = CML_XML_TEXT
    while token != CML_XML_ERROR and xml.depth > 0:
        token = cml_xml_next(&xml)
        if token == CML_XML_OPEN and xml.depth == 2 and cml_xml_is(&xml, "EncodingType"):
            return cml_xml_leaf(&xml) and xml.text_len == 3 and memcmp(xml.text, b"url", 3) == 0
    return False


cdef size_t _unquote(const char *text, size_t length, char *out, bint plus) noexcept nogil:
    # As urllib.parse.unquote_plus (without `plus`: unquote), on bytes. May work in place: it never writes more than it
    # has read.
    cdef size_t i = 0, written = 0
    cdef int high, low
    while i < length:
        out[written] = 32 if plus and text[i] == 43 else text[i]
        if text[i] == 37 and i + 2 < length:
            high, low = _hex(text[i + 1]), _hex(text[i + 2])
            if high >= 0 and low >= 0:
                out[written] = <char>(high * 16 + low)
                i += 2
        i += 1
        written += 1
    return written


cdef int _hex(char digit) noexcept nogil:
    if 48 <= digit <= 57:
        return digit - 48
    digit |= 32
    return digit - 87 if 97 <= digit <= 102 else -1


cdef object _unquoted(text):
    if not text:
        return text
    raw = bytearray(text, "utf-8", "surrogateescape")
    cdef char *data = PyByteArray_AS_STRING(raw)
    return raw[:_unquote(data, len(raw), data, True)].decode("utf-8", "surrogateescape")


cdef bint _unsigned(const char *text, size_t length, uint64_t *value) noexcept nogil:
    cdef size_t i
    cdef unsigned int digit
    for i in range(length):
        digit = <unsigned int>text[i] - 48
        if digit > 9 or value[0] > (UINT64_MAX - digit) // 10:
            return False
        value[0] = value[0] * 10 + digit
    return length > 0


def parse_list_page(body, str strip_prefix, bint url_encoded, bint columns=False):
    """A page of ListObjectsV2, or of ListObjects with its NextMarker.

    Args:
        body: the whole body; anything with the buffer protocol.
        strip_prefix: cut from every path; each must begin with it.
        url_encoded: whether the request had `encoding-type=url`. Keys are decoded only if the page says that it obeyed;
            this is then looked for in the whole page before the first key.
        columns: whether objects come as `Columns` in place of dicts.

    Returns:
        `(objects, common_prefixes, next_token, is_truncated, key_count, prefix)`: objects as dicts of `path`,
        `last_modified` (UTC), `size` in bytes, `e_tag` and `version` (a
        generation of Cloud Storage's, else None); common prefixes with the delimiter
        that ends them; `next_token` (None on the last page) is NextContinuationToken, else NextMarker; `key_count` and
        the echoed `prefix`, not stripped, are None where the page has none.

    Raises:
        ListError: anything but a complete, well-formed page; with `code` and `message` if it is an error document.
    """
    cdef _ListPage page = _ListPage(body, strip_prefix, url_encoded, columns)
    page.parse()
    return page.found, page.prefixes, page.token, page.truncated, page.key_count, page.prefix
