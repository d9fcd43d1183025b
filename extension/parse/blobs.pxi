# Azure's listing pages as Python objects: the same reader as for S3's (listing.pxi), another table of elements.
#
# Left out of a page: what an account with a hierarchical namespace lists as directories.

cdef class _BlobPage(_ListPage):
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
        cdef object path = None, version = None
        cdef dict properties = None
        cdef int token
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                break
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Name"):
                path = self.read_name(path)
            elif cml_xml_is(&self.xml, "VersionId"):
                version = self.read_string(version)
            elif cml_xml_is(&self.xml, "Properties"):
                properties = self.take_properties()
            else:
                self.skip()
        if path is None or properties is None:
            raise ListError(f"the page has a blob without Name or Properties, before byte "
                            f"{cml_xml_offset(&self.xml)}: {path!r}")
        if properties["path"] is None:
            properties["path"] = path
            properties["version"] = version or None
            self.objects.append(properties)
        return 0

    cdef dict take_properties(self):
        # The object's dict, whose path is still to come: None there, or "" for a directory.
        cdef object modified = None, size = None, e_tag = None, kind = None
        cdef int token
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                break
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Last-Modified"):
                modified = self.read_http_date(modified)
            elif cml_xml_is(&self.xml, "Content-Length"):
                size = self.read_number(size)
            elif cml_xml_is(&self.xml, "Etag"):
                e_tag = self.read_string(e_tag)
            elif cml_xml_is(&self.xml, "ResourceType"):
                kind = self.read_string(kind)
            else:
                self.skip()
        if kind == "directory":
            return {"path": ""}
        if modified is None or size is None:
            raise ListError(f"the page has a blob without Last-Modified or Content-Length, "
                            f"before byte {cml_xml_offset(&self.xml)}")
        if e_tag and not e_tag.endswith('"'):
            e_tag = f'"{e_tag}"'  # a header has it with its quotes, and so do conditions
        return {"path": None, "last_modified": modified, "size": size, "e_tag": e_tag or None, "version": None}

    cdef int take_blob_prefix(self) except -1:
        cdef int token
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                return 0
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Name"):
                self.prefixes.append(self.read_name(None))
            else:
                self.skip()

    cdef str read_name(self, previous):
        # <Name Encoded="true"> holds a name that XML has no way to write (API version 2021-02-12 and later).
        cdef const char *attributes = self.xml.name + self.xml.name_len
        cdef const char *end = <const char *>self.view.buf + cml_xml_offset(&self.xml)
        self.encoded = end - attributes > 1 and b'Encoded="true"' in attributes[:end - attributes]
        return self.read_path(previous)

    cdef object read_http_date(self, previous):
        self.read_once(previous)
        if self.length == self.stamp_length and memcmp(self.text, self.stamp, self.length) == 0:
            return self.stamp_value
        return self.keep_time(_http_date(self.text, self.length))

    cdef bint plus_is_space(self):
        return False


cdef object _http_date(const char *text, size_t length):
    # RFC 9110 5.6.7, "Sun, 06 Nov 1994 08:49:37 GMT"; None when it is not one.
    cdef int month = 0
    if length != 29 or memcmp(text + 25, b" GMT", 4) != 0 or text[19] != 58 or text[22] != 58:
        return None
    for name in (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"):
        month += 1
        if memcmp(text + 8, PyBytes_AS_STRING(name), 3) == 0:
            break
    else:
        return None
    try:
        return datetime_new(_digits(text + 12, 4), month, _digits(text + 5, 2), _digits(text + 17, 2),
                            _digits(text + 20, 2), _digits(text + 23, 2), 0, _UTC)
    except ValueError:
        return None


def parse_blob_page(body, str strip_prefix):
    """A page of Azure's List Blobs.

    Args:
        body: the whole body; anything with the buffer protocol.
        strip_prefix: cut from every path; each must begin with it.

    Returns:
        `(objects, common_prefixes, next_marker)`: objects as `parse_list_page` gives them, ETags with their quotes;
        `next_marker` is None on the last page.

    Raises:
        ListError: anything but a complete, well-formed page; with `code` and `message` if it is an error document.
    """
    cdef _BlobPage page = _BlobPage(body, strip_prefix, False)
    page.parse()
    return page.objects, page.prefixes, page.token
