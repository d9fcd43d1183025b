# Azure's listing pages: the same reader as for S3's (listing.pxi), another table of elements.
#
# Left out of a page: what an account with a hierarchical namespace lists as directories.

cdef class _BlobPage(_ListPage):
    cdef bint is_directory, with_versions
    cdef object latest

    cdef int open_root(self) except -1:
        return self.open_page("EnumerationResults")

    cdef int take_field(self) except -1:
        if cml_xml_is(&self.xml, "Blobs"):
            self.take_blobs()
        elif cml_xml_is(&self.xml, "NextMarker"):
            self.marker = self.read_string(self.marker)
        else:
            self.skip()
        return 0

    cdef int conclude(self) except -1:
        self.token = self.marker or None
        self.truncated = self.token is not None
        return 0

    cdef int take_blobs(self) except -1:
        cdef int token
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                return 0
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Blob"):
                self.take_blob()
            elif cml_xml_is(&self.xml, "BlobPrefix"):
                self.take_blob_prefix()
            else:
                self.skip()

    cdef int take_blob(self) except -1:
        cdef int token
        self.begin_row()
        self.is_directory = False
        self.latest = None
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                break
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Name"):
                self.settle_name()
                self.take_path()
            elif cml_xml_is(&self.xml, "VersionId"):
                self.take_text_field(_VERSION, &self.row.version)
            elif cml_xml_is(&self.xml, "IsCurrentVersion"):
                self.latest = self.read_bool(self.latest)
            elif cml_xml_is(&self.xml, "Properties"):
                self.take_properties()
            else:
                self.skip()
        if self.is_directory and self.seen & _PATH:
            self.keeps = False
            return 0
        self.end_row("a blob without Name, Last-Modified or Content-Length")
        if self.with_versions:
            self.objects[len(self.objects) - 1].update(is_latest=bool(self.latest), is_delete_marker=False)
        return 0

    cdef int take_properties(self) except -1:
        cdef int token
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                return 0
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Last-Modified"):
                self.take_time()
            elif cml_xml_is(&self.xml, "Content-Length"):
                self.take_size()
            elif cml_xml_is(&self.xml, "Etag"):
                self.take_text_field(_E_TAG, &self.row.e_tag)
                self.quote_e_tag()
            elif cml_xml_is(&self.xml, "ResourceType"):
                self.read()
                self.is_directory = self.holds("directory")
            else:
                self.skip()

    cdef int quote_e_tag(self) except -1:
        # A header has it with its quotes, and so do conditions. There is room: for the element's own tags, at least.
        cdef cml_text *e_tag = &self.row.e_tag
        cdef char *out
        if e_tag.data == NULL or e_tag.data[e_tag.length - 1] == 34:
            return 0
        out = self.room(e_tag.length + 2)
        out[0] = out[e_tag.length + 1] = 34
        memcpy(out + 1, e_tag.data, e_tag.length)
        self.length = e_tag.length + 2
        self.keep_scratch()
        e_tag.data, e_tag.length = self.text, self.length
        return 0

    cdef int take_blob_prefix(self) except -1:
        cdef int token
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                return 0
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Name"):
                self.settle_name()
                self.prefixes.append(self.read_path(None))
            else:
                self.skip()

    cdef int settle_name(self) except -1:
        # <Name Encoded="true"> holds a name that XML has no way to write (API version 2021-02-12 and later).
        cdef const char *attributes = self.xml.name + self.xml.name_len
        cdef const char *end = <const char *>self.view.buf + cml_xml_offset(&self.xml)
        self.encoded = end - attributes > 1 and b'Encoded="true"' in attributes[:end - attributes]
        return 0

    cdef bint parse_time(self, int64_t *us):
        return _http_date(self.text, self.length, us)

    cdef bint plus_is_space(self):
        return False


cdef bint _http_date(const char *text, size_t length, int64_t *us) noexcept nogil:
    # RFC 9110 5.6.7, "Sun, 06 Nov 1994 08:49:37 GMT"; False when it is not one.
    cdef const char *months = "JanFebMarAprMayJunJulAugSepOctNovDec"
    cdef int month = 0
    cdef int64_t seconds = 0
    if length != 29 or memcmp(text + 25, " GMT", 4) != 0:
        return False
    while month < 12 and memcmp(text + 8, months + 3 * month, 3) != 0:
        month += 1
    if not _seconds(_digits(text + 12, 4), month + 1, _digits(text + 5, 2), text + 17, &seconds):
        return False
    us[0] = seconds * _MICRO
    return True


def parse_blob_page(body, str strip_prefix, bint columns=False, bint versions=False):
    """A page of Azure's List Blobs.

    Args:
        body: the whole body; anything with the buffer protocol.
        strip_prefix: cut from every path; each must begin with it.
        columns: whether objects come as `Columns` in place of dicts.
        versions: whether dicts have `is_latest` and `is_delete_marker`, too.

    Returns:
        `(objects, common_prefixes, next_marker)`: objects as `parse_list_page` gives them, ETags with their quotes;
        `next_marker` is None on the last page.

    Raises:
        ListError: anything but a complete, well-formed page; with `code` and `message` if it is an error document.
    """
    cdef _BlobPage page = _BlobPage(body, strip_prefix, False, columns)
    page.with_versions = versions and not columns
    page.parse()
    return page.found, page.prefixes, page.token
