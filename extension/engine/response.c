/* Response headers: kept as received, and the few the engine acts on are read as they come. Loop thread only. */
#include "internal.h"

#include <aws/common/date_time.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_RETRY_AFTER_S 3600

void cml_response_reset(struct cml_response *response) {
    char *headers = response->headers;
    size_t cap = response->cap;
    memset(response, 0, sizeof(*response));
    response->headers = headers;
    response->cap = cap;
    response->content_length = -1;
    response->retry_after_s = -1;
}

void cml_response_free(struct cml_response *response) {
    free(response->headers);
    memset(response, 0, sizeof(*response));
}

static bool s_reserve(struct cml_response *response, size_t more) {
    size_t need = response->len + more;
    if (need <= response->cap) {
        return true;
    }
    if (need > CML_HEADER_BYTES) {
        response->overflow = true;
        return false;
    }
    size_t cap = response->cap ? response->cap * 2 : 1024;
    while (cap < need) {
        cap *= 2;
    }
    char *grown = realloc(response->headers, cap);
    if (grown == NULL) {
        response->overflow = true;
        return false;
    }
    response->headers = grown;
    response->cap = cap;
    return true;
}

/* Digits only (RFC 9110 8.6): no sign, no space, no overflow. */
static bool s_parse_u64(const char *text, size_t len, uint64_t *out) {
    uint64_t value = 0;
    if (len == 0 || len > 19) {
        return false;
    }
    for (size_t i = 0; i < len; ++i) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return true;
}

/* "bytes 0-99/1000" (RFC 9110 14.4). A total of "*" stays unknown and is not accepted: nothing could be checked. */
static void s_parse_content_range(struct cml_response *response, const char *value, size_t len) {
    const char *end = value + len;
    if (len < 6 || strncasecmp(value, "bytes ", 6) != 0) {
        return;
    }
    value += 6;
    const char *dash = memchr(value, '-', (size_t)(end - value));
    const char *slash = dash ? memchr(dash, '/', (size_t)(end - dash)) : NULL;
    uint64_t first, last, total;
    if (slash == NULL || !s_parse_u64(value, (size_t)(dash - value), &first) ||
        !s_parse_u64(dash + 1, (size_t)(slash - dash - 1), &last) ||
        !s_parse_u64(slash + 1, (size_t)(end - slash - 1), &total) || last < first || last >= total) {
        return;
    }
    response->has_range = true;
    response->range_start = first;
    response->range_end = last + 1;
    response->total = total;
}

static int64_t s_parse_http_date(const char *value, size_t len) {
    struct aws_date_time date;
    struct aws_byte_cursor cursor = aws_byte_cursor_from_array(value, len);
    if (aws_date_time_init_from_str_cursor(&date, &cursor, AWS_DATE_FORMAT_AUTO_DETECT) != AWS_OP_SUCCESS) {
        return 0;
    }
    return (int64_t)aws_date_time_as_epoch_secs(&date);
}

/* A date is held against the server's own clock; its Date header may come before or after. */
static void s_note_retry_at(struct cml_response *response) {
    if (response->retry_at_s != 0 && response->date_s != 0) {
        int64_t wait = response->retry_at_s - response->date_s;
        wait = wait < 0 ? 0 : wait;
        response->retry_after_s = wait > MOST_RETRY_AFTER_S ? MOST_RETRY_AFTER_S : (int32_t)wait;
    }
}

static void s_parse_retry_after(struct cml_response *response, const char *value, size_t len) {
    uint64_t seconds = 0;
    if (s_parse_u64(value, len, &seconds)) {
        response->retry_after_s = seconds > MOST_RETRY_AFTER_S ? MOST_RETRY_AFTER_S : (int32_t)seconds;
        return;
    }
    response->retry_at_s = s_parse_http_date(value, len);
    s_note_retry_at(response);
}

static enum cml_checksum s_checksum_of(const char *name, size_t len) {
    static const struct {
        const char *name;
        enum cml_checksum kind;
    } known[] = {
        {"x-amz-checksum-crc64nvme", CML_SUM_CRC64NVME}, {"x-amz-checksum-crc32c", CML_SUM_CRC32C},
        {"x-amz-checksum-crc32", CML_SUM_CRC32},         {"x-amz-checksum-sha256", CML_SUM_SHA256},
        {"x-amz-checksum-sha1", CML_SUM_SHA1},           {"content-md5", CML_SUM_MD5},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); ++i) {
        if (strlen(known[i].name) == len && strncasecmp(known[i].name, name, len) == 0) {
            return known[i].kind;
        }
    }
    return CML_SUM_NONE;
}

static bool s_is(const char *name, size_t len, const char *known) {
    return strlen(known) == len && strncasecmp(name, known, len) == 0;
}

static void s_note_length(struct cml_response *response, const char *value, size_t len) {
    uint64_t length = 0;
    if (!s_parse_u64(value, len, &length) || length > INT64_MAX ||
        (response->content_length >= 0 && (uint64_t)response->content_length != length)) {
        response->bad_length = true;
    } else {
        response->content_length = (int64_t)length;
    }
}

static void s_note_checksum(struct cml_response *response, enum cml_checksum kind, const char *value, size_t len) {
    /* "…-3" is a checksum of the parts' checksums: it says nothing about the bytes as they come. */
    if (kind != CML_SUM_NONE && memchr(value, '-', len) == NULL && len < CML_CHECKSUM_TEXT &&
        (response->checksum == CML_SUM_NONE || kind < response->checksum)) {
        response->checksum = kind;
        memcpy(response->checksum_text, value, len);
        response->checksum_text[len] = 0;
    }
}

/* Cloud Storage's: "crc32c=AAAAAA==,md5=…", in one header or several. */
static void s_note_hashes(struct cml_response *response, const char *value, size_t len) {
    const char *end = value + len;
    while (value < end) {
        const char *comma = memchr(value, ',', (size_t)(end - value));
        const char *stop = comma != NULL ? comma : end;
        while (value < stop && *value == ' ') {
            ++value;
        }
        const char *trimmed = stop;
        while (trimmed > value && trimmed[-1] == ' ') {
            --trimmed;
        }
        size_t left = (size_t)(trimmed - value);
        if (left > 7 && strncasecmp(value, "crc32c=", 7) == 0) {
            s_note_checksum(response, CML_SUM_CRC32C, value + 7, left - 7);
        } else if (left > 4 && strncasecmp(value, "md5=", 4) == 0) {
            s_note_checksum(response, CML_SUM_MD5, value + 4, left - 4);
        }
        value = comma != NULL ? comma + 1 : end;
    }
}

static void s_note(struct cml_response *response, const char *name, size_t nlen, const char *value, size_t vlen,
                   size_t value_at) {
    switch (name[0] | 0x20) {
        case 'c':
            if (s_is(name, nlen, "content-length")) {
                s_note_length(response, value, vlen);
            } else if (s_is(name, nlen, "content-range")) {
                s_parse_content_range(response, value, vlen);
            } else if (s_is(name, nlen, "content-encoding")) {
                response->encoded = !s_is(value, vlen, "identity");
            } else if (nlen == 11) {
                s_note_checksum(response, s_checksum_of(name, nlen), value, vlen);
            }
            break;
        case 'd':
            if (s_is(name, nlen, "date")) {
                response->date_s = s_parse_http_date(value, vlen);
                s_note_retry_at(response);
            }
            break;
        case 'e':
            if (s_is(name, nlen, "etag")) {
                response->etag_at = (uint32_t)value_at + 1;
            }
            break;
        case 'r':
            if (s_is(name, nlen, "retry-after")) {
                s_parse_retry_after(response, value, vlen);
            }
            break;
        case 't':
            if (s_is(name, nlen, "transfer-encoding")) {
                response->chunked = true;
            }
            break;
        case 'x':
            if (s_is(name, nlen, "x-goog-hash")) {
                s_note_hashes(response, value, vlen);
            } else if (s_is(name, nlen, "x-goog-stored-content-encoding")) {
                response->stored_encoded = !s_is(value, vlen, "identity");
            } else {
                s_note_checksum(response, s_checksum_of(name, nlen), value, vlen);
            }
            break;
        default:
            break;
    }
}

bool cml_response_add(struct cml_response *response, const struct aws_http_header *header) {
    size_t nlen = header->name.len, vlen = header->value.len;
    if (nlen == 0 || !s_reserve(response, nlen + vlen + 2)) {
        return !response->overflow;
    }
    char *name = response->headers + response->len;
    memcpy(name, header->name.ptr, nlen);
    name[nlen] = 0;
    char *value = name + nlen + 1;
    if (vlen != 0) {
        memcpy(value, header->value.ptr, vlen);
    }
    value[vlen] = 0;
    size_t value_at = response->len + nlen + 1;
    response->len += nlen + vlen + 2;
    s_note(response, name, nlen, value, vlen, value_at);
    return true;
}

const char *cml_response_etag(const struct cml_response *response) {
    return response->etag_at ? response->headers + response->etag_at - 1 : NULL;
}

bool cml_etag_is_strong(const char *etag) {
    return etag != NULL && etag[0] != 0 && strncmp(etag, "W/", 2) != 0;
}

/* Decompressed on its way to who does not accept the coding it has where it is stored, it has no checksum of its own:
 * https://cloud.google.com/storage/docs/transcoding */
enum cml_checksum cml_response_checksum(const struct cml_response *response) {
    return response->stored_encoded && !response->encoded ? CML_SUM_NONE : response->checksum;
}
