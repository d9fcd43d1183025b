/* Checksums: of bodies as they arrive (the loop's thread), compared with the base64 value a server sent; and of what is
 * to be uploaded (any one thread).
 */
#include "internal.h"

#include <aws/cal/hash.h>
#include <aws/checksums/crc.h>
#include <aws/common/encoding.h>
#include <string.h>

void cml_sum_start(struct cml_sum *sum, enum cml_checksum kind) {
    cml_sum_stop(sum);
    sum->kind = kind;
    sum->crc = 0;
    struct aws_allocator *alloc = aws_default_allocator();
    if (kind == CML_SUM_SHA256) {
        sum->hash = aws_sha256_new(alloc);
    } else if (kind == CML_SUM_SHA1) {
        sum->hash = aws_sha1_new(alloc);
    } else if (kind == CML_SUM_MD5) {
        sum->hash = aws_md5_new(alloc);
    }
}

void cml_sum_update(struct cml_sum *sum, const void *data, size_t length) {
    struct aws_byte_cursor cursor = aws_byte_cursor_from_array(data, length);
    switch (sum->kind) {
        case CML_SUM_CRC64NVME:
            sum->crc = aws_checksums_crc64nvme_ex(data, length, sum->crc);
            break;
        case CML_SUM_CRC32C:
            sum->crc = aws_checksums_crc32c_ex(data, length, (uint32_t)sum->crc);
            break;
        case CML_SUM_CRC32:
            sum->crc = aws_checksums_crc32_ex(data, length, (uint32_t)sum->crc);
            break;
        case CML_SUM_NONE:
            break;
        default:
            aws_hash_update(sum->hash, &cursor);
    }
}

static size_t s_digest(struct cml_sum *sum, uint8_t out[64]) {
    if (sum->hash != NULL) {
        struct aws_byte_buf buf = aws_byte_buf_from_empty_array(out, 64);
        return aws_hash_finalize(sum->hash, &buf, 0) == AWS_OP_SUCCESS ? buf.len : 0;
    }
    size_t bytes = sum->kind == CML_SUM_CRC64NVME ? 8 : 4;
    for (size_t i = 0; i < bytes; ++i) {
        out[i] = (uint8_t)(sum->crc >> (8 * (bytes - 1 - i)));
    }
    return bytes;
}

bool cml_sum_matches(struct cml_sum *sum, const char *base64) {
    uint8_t digest[64], expected[64];
    struct aws_byte_cursor text = aws_byte_cursor_from_c_str(base64);
    struct aws_byte_buf decoded = aws_byte_buf_from_empty_array(expected, sizeof(expected));
    size_t need = 0;
    if (aws_base64_compute_decoded_len(&text, &need) != AWS_OP_SUCCESS || need > sizeof(expected) ||
        aws_base64_decode(&text, &decoded) != AWS_OP_SUCCESS) {
        return true; /* not a checksum we can read: nothing to hold the body against */
    }
    size_t length = s_digest(sum, digest);
    return length != 0 && length == decoded.len && memcmp(digest, expected, length) == 0;
}

void cml_sum_stop(struct cml_sum *sum) {
    if (sum->hash != NULL) {
        aws_hash_destroy(sum->hash);
    }
    sum->hash = NULL;
    sum->kind = CML_SUM_NONE;
}

/* ---- what consumers of parts ask for ---- */

static const struct {
    const char *name;
    enum cml_checksum kind;
} s_known[] = {{"CRC64NVME", CML_SUM_CRC64NVME}, {"CRC32C", CML_SUM_CRC32C}, {"CRC32", CML_SUM_CRC32},
               {"SHA256", CML_SUM_SHA256},       {"SHA1", CML_SUM_SHA1},     {"MD5", CML_SUM_MD5}};

static enum cml_checksum s_kind_of(const char *name) {
    for (size_t i = 0; i < sizeof(s_known) / sizeof(s_known[0]); ++i) {
        if (strcmp(s_known[i].name, name) == 0) {
            return s_known[i].kind;
        }
    }
    return CML_SUM_NONE;
}

bool cml_request_set_digest(struct cml_request *request, const char *algorithm) {
    request->digest = s_kind_of(algorithm);
    return request->digest != CML_SUM_NONE && request->digest <= CML_SUM_CRC32;
}

void cml_request_mark_digest(struct cml_request *request, uint64_t offset) {
    request->digest_mark = offset;
}

uint64_t cml_request_digest(const struct cml_request *request) {
    return request->digest_mark != 0 ? request->marked_digest : request->sum.crc;
}

const char *cml_request_announced_checksum(const struct cml_request *request, const char **base64) {
    const struct cml_response *response = &request->response;
    enum cml_checksum sent = cml_response_checksum(response);
    for (size_t i = 0; sent != CML_SUM_NONE && i < sizeof(s_known) / sizeof(s_known[0]); ++i) {
        if (s_known[i].kind == sent) {
            *base64 = response->checksum_text;
            return s_known[i].name;
        }
    }
    return NULL;
}

uint64_t cml_digest_combine(const char *algorithm, uint64_t first, uint64_t second, uint64_t second_length) {
    switch (s_kind_of(algorithm)) {
        case CML_SUM_CRC64NVME:
            return aws_checksums_crc64nvme_combine(first, second, second_length);
        case CML_SUM_CRC32C:
            return aws_checksums_crc32c_combine((uint32_t)first, (uint32_t)second, second_length);
        case CML_SUM_CRC32:
            return aws_checksums_crc32_combine((uint32_t)first, (uint32_t)second, second_length);
        default:
            return 0;
    }
}

struct cml_sum *cml_checksum_begin(const char *algorithm) {
    enum cml_checksum kind = s_kind_of(algorithm);
    if (kind == CML_SUM_NONE) {
        return NULL;
    }
    struct cml_sum *sum = aws_mem_calloc(aws_default_allocator(), 1, sizeof(*sum));
    cml_sum_start(sum, kind);
    return sum;
}

void cml_checksum_add(struct cml_sum *sum, const void *data, size_t length) {
    cml_sum_update(sum, data, length);
}

size_t cml_checksum_end(struct cml_sum *sum, uint8_t out[64]) {
    size_t size = s_digest(sum, out);
    cml_sum_stop(sum);
    aws_mem_release(aws_default_allocator(), sum);
    return size;
}
