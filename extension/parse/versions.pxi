# Pages of S3's ListObjectVersions: the same reader as for its other listings (listing.pxi), another table of elements.

cdef class _VersionPage(_ListPage):
    cdef object key_marker, version_marker, latest

    cdef int open_root(self) except -1:
        return self.open_page("ListVersionsResult")

    cdef int take_field(self) except -1:
        if cml_xml_is(&self.xml, "Version"):
            self.take_version(False)
        elif cml_xml_is(&self.xml, "DeleteMarker"):
            self.take_version(True)
        elif cml_xml_is(&self.xml, "IsTruncated"):
            self.truncated = self.read_bool(self.truncated)
        elif cml_xml_is(&self.xml, "NextKeyMarker"):
            self.key_marker = self.read_string(self.key_marker)
        elif cml_xml_is(&self.xml, "NextVersionIdMarker"):
            self.version_marker = self.read_string(self.version_marker)
        elif cml_xml_is(&self.xml, "EncodingType"):
            self.take_encoding()
        else:
            self.skip()
        return 0

    cdef int take_version(self, bint is_delete_marker) except -1:
        cdef int token
        self.settle_encoding()
        self.begin_row()
        self.latest = None
        while True:
            token = self.next()
            if token == CML_XML_CLOSE:
                break
            if token != CML_XML_OPEN:
                continue
            if cml_xml_is(&self.xml, "Key"):
                self.take_path()
            elif cml_xml_is(&self.xml, "VersionId"):
                self.take_text_field(_VERSION, &self.row.version)
            elif cml_xml_is(&self.xml, "IsLatest"):
                self.latest = self.read_bool(self.latest)
            elif cml_xml_is(&self.xml, "LastModified"):
                self.take_time()
            elif cml_xml_is(&self.xml, "Size") and not is_delete_marker:
                self.take_size()
            elif cml_xml_is(&self.xml, "ETag"):
                self.take_text_field(_E_TAG, &self.row.e_tag)
            else:
                self.skip()
        if is_delete_marker:
            self.seen |= _SIZE
        self.end_row("a version without Key, LastModified or Size")
        self.objects[len(self.objects) - 1].update(is_latest=bool(self.latest), is_delete_marker=is_delete_marker)
        return 0

    cdef int conclude(self) except -1:
        if self.encoded > 0:
            self.key_marker = _unquoted(self.key_marker)
        if self.truncated and not self.key_marker:
            raise ListError("the page says that it is truncated, and not where the next one begins")
        self.token = (self.key_marker, self.version_marker or "") if self.truncated else None
        return 0


def parse_version_page(body, str strip_prefix, bint url_encoded):
    """A page of ListObjectVersions.

    Args:
        body, strip_prefix, url_encoded: as `parse_list_page` has them.

    Returns:
        `(versions, token)`: dicts as `parse_list_page` gives them, with `is_latest` and `is_delete_marker` (whose size
        is 0); the token is `(key marker, version marker)` of the next page, None on the last.

    Raises:
        ListError: anything but a complete, well-formed page; with `code` and `message` if it is an error document.
    """
    cdef _VersionPage page = _VersionPage(body, strip_prefix, url_encoded)
    page.parse()
    return page.objects, page.token
