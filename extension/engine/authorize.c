/* How a request shows who sends it, by its client's way: SigV4 (signing.c), a bearer token, Azure's SharedKey, or a query
 * that carries the right itself. On its loop's thread, just before it is written, from the latest snapshot.
 *
 * Source of SharedKey's rules: Azure Storage REST reference, "Authorize with Shared Key". The signature is HMAC-SHA256,
 * with the account's key, of the method, eleven headers, the x-ms-* headers by name, and the path with its query.
 */
#include "internal.h"

#include <aws/cal/hmac.h>
#include <aws/common/date_time.h>
#include <aws/common/encoding.h>
#include <aws/common/uri.h>
#include <aws/auth/credentials.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_SORTED 64 /* x-ms-* headers, or parameters of a query; more than any request here has */

static const char *const s_plain_headers[] = {"content-encoding", "content-language", "content-length", "content-md5",
                                              "content-type", "date", "if-modified-since", "if-match",
                                              "if-none-match", "if-unmodified-since", "range"};

static int s_add(struct aws_http_message *message, const char *name, struct aws_byte_cursor value) {
    struct aws_http_header header = {.name = aws_byte_cursor_from_c_str(name), .value = value};
    return aws_http_message_add_header(message, header);
}

static int s_bearer(struct aws_http_message *message, struct aws_byte_cursor token) {
    struct aws_byte_buf value;
    struct aws_byte_cursor scheme = aws_byte_cursor_from_c_str("Bearer ");
    aws_byte_buf_init_copy_from_cursor(&value, aws_default_allocator(), scheme);
    aws_byte_buf_append_dynamic(&value, &token);
    int result = s_add(message, "Authorization", aws_byte_cursor_from_buf(&value));
    aws_byte_buf_clean_up_secure(&value);
    return result;
}

static int s_query(struct aws_http_message *message, struct aws_byte_cursor query) {
    struct aws_byte_cursor path;
    struct aws_byte_buf whole;
    aws_http_message_get_request_path(message, &path);
    aws_byte_buf_init_copy_from_cursor(&whole, aws_default_allocator(), path);
    struct aws_byte_cursor joint = aws_byte_cursor_from_c_str(memchr(path.ptr, '?', path.len) != NULL ? "&" : "?");
    aws_byte_buf_append_dynamic(&whole, &joint);
    aws_byte_buf_append_dynamic(&whole, &query);
    int result = aws_http_message_set_request_path(message, aws_byte_cursor_from_buf(&whole));
    aws_byte_buf_clean_up_secure(&whole);
    return result;
}

/* Checked when they were published: no line is without a colon. */
static int s_lines(struct aws_http_message *message, struct aws_byte_cursor lines) {
    struct aws_byte_cursor line = {0};
    int result = AWS_OP_SUCCESS;
    while (result == AWS_OP_SUCCESS && aws_byte_cursor_next_split(&lines, '\n', &line)) {
        const uint8_t *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
        if (colon != NULL) {
            size_t name_len = (size_t)(colon - line.ptr);
            struct aws_http_header header = {
                .name = aws_byte_cursor_from_array(line.ptr, name_len),
                .value = aws_byte_cursor_from_array(colon + 1, line.len - name_len - 1),
            };
            result = aws_http_message_add_header(message, header);
        }
    }
    return result;
}

/* ---- SharedKey ---- */

struct s_pair {
    struct aws_byte_cursor name, value;
};

static int s_by_name(const void *a, const void *b) {
    const struct aws_byte_cursor *one = &((const struct s_pair *)a)->name, *other = &((const struct s_pair *)b)->name;
    size_t shorter = one->len < other->len ? one->len : other->len;
    int order = shorter != 0 ? strncasecmp((const char *)one->ptr, (const char *)other->ptr, shorter) : 0;
    return order != 0 ? order : (one->len > other->len) - (one->len < other->len);
}

static void s_append(struct aws_byte_buf *text, struct aws_byte_cursor more) {
    aws_byte_buf_append_dynamic(text, &more);
}

static void s_append_lower(struct aws_byte_buf *text, struct aws_byte_cursor name) {
    aws_byte_buf_append_dynamic(text, &name);
    for (size_t i = text->len - name.len; i < text->len; ++i) {
        if (text->buffer[i] >= 'A' && text->buffer[i] <= 'Z') {
            text->buffer[i] |= 0x20;
        }
    }
}

static void s_append_text(struct aws_byte_buf *text, const char *more) {
    s_append(text, aws_byte_cursor_from_c_str(more));
}

static void s_append_plain_headers(struct aws_byte_buf *text, const struct aws_http_headers *headers) {
    for (size_t i = 0; i < sizeof(s_plain_headers) / sizeof(s_plain_headers[0]); ++i) {
        struct aws_byte_cursor value;
        struct aws_byte_cursor name = aws_byte_cursor_from_c_str(s_plain_headers[i]);
        bool there = aws_http_headers_get(headers, name, &value) == AWS_OP_SUCCESS;
        if (there && !(i == 2 && aws_byte_cursor_eq_c_str(&value, "0"))) { /* a length of 0 is left out */
            s_append(text, value);
        }
        s_append_text(text, "\n");
    }
}

static int s_append_ms_headers(struct aws_byte_buf *text, const struct aws_http_headers *headers) {
    struct s_pair found[MOST_SORTED];
    size_t count = 0;
    for (size_t i = 0; i < aws_http_headers_count(headers); ++i) {
        struct aws_http_header header;
        aws_http_headers_get_index(headers, i, &header);
        if (header.name.len > 5 && strncasecmp((const char *)header.name.ptr, "x-ms-", 5) == 0) {
            if (count == MOST_SORTED) {
                return aws_raise_error(AWS_ERROR_INVALID_ARGUMENT);
            }
            found[count++] = (struct s_pair){.name = header.name, .value = header.value};
        }
    }
    qsort(found, count, sizeof(found[0]), s_by_name);
    for (size_t i = 0; i < count; ++i) {
        s_append_lower(text, found[i].name);
        s_append_text(text, ":");
        s_append(text, aws_byte_cursor_trim_pred(&found[i].value, aws_char_is_space));
        s_append_text(text, "\n");
    }
    return AWS_OP_SUCCESS;
}

static int s_append_resource(struct aws_byte_buf *text, struct aws_byte_cursor account, struct aws_byte_cursor target) {
    const uint8_t *mark = memchr(target.ptr, '?', target.len);
    struct aws_byte_cursor path = target, query = {0};
    if (mark != NULL) {
        path.len = (size_t)(mark - target.ptr);
        query = aws_byte_cursor_from_array(mark + 1, target.len - path.len - 1);
    }
    s_append_text(text, "/");
    s_append(text, account);
    s_append(text, path);
    struct s_pair found[MOST_SORTED];
    size_t count = 0;
    struct aws_uri_param param;
    AWS_ZERO_STRUCT(param);
    while (query.len != 0 && aws_query_string_next_param(query, &param)) {
        if (count == MOST_SORTED) {
            return aws_raise_error(AWS_ERROR_INVALID_ARGUMENT);
        }
        found[count++] = (struct s_pair){.name = param.key, .value = param.value};
    }
    qsort(found, count, sizeof(found[0]), s_by_name);
    for (size_t i = 0; i < count; ++i) {
        s_append_text(text, "\n");
        s_append_lower(text, found[i].name);
        s_append_text(text, ":");
        if (aws_byte_buf_append_decoding_uri(text, &found[i].value) != AWS_OP_SUCCESS) {
            return AWS_OP_ERR;
        }
    }
    return AWS_OP_SUCCESS;
}

/* "SharedKey account:signature" */
static int s_signature(struct aws_byte_cursor account, struct aws_byte_cursor key_base64, struct aws_byte_cursor text,
                       struct aws_byte_buf *out) {
    uint8_t key[256], digest[32];
    struct aws_byte_buf decoded = aws_byte_buf_from_empty_array(key, sizeof(key));
    struct aws_byte_buf mac = aws_byte_buf_from_empty_array(digest, sizeof(digest));
    size_t need = 0;
    if (aws_base64_compute_decoded_len(&key_base64, &need) != AWS_OP_SUCCESS || need > sizeof(key) ||
        aws_base64_decode(&key_base64, &decoded) != AWS_OP_SUCCESS) {
        return aws_raise_error(AWS_AUTH_SIGNING_INVALID_CONFIGURATION);
    }
    struct aws_byte_cursor secret = aws_byte_cursor_from_buf(&decoded);
    int result = aws_sha256_hmac_compute(aws_default_allocator(), &secret, &text, &mac, 0);
    aws_secure_zero(key, sizeof(key));
    if (result != AWS_OP_SUCCESS) {
        return result;
    }
    uint8_t encoded[64];
    struct aws_byte_buf base64 = aws_byte_buf_from_empty_array(encoded, sizeof(encoded));
    struct aws_byte_cursor raw = aws_byte_cursor_from_buf(&mac);
    result = aws_base64_encode(&raw, &base64);
    s_append_text(out, "SharedKey ");
    s_append(out, account);
    s_append_text(out, ":");
    s_append(out, aws_byte_cursor_from_buf(&base64));
    return result;
}

static int s_add_date(struct cml_request *request, struct aws_http_message *message) {
    struct aws_date_time now;
    char text[AWS_DATE_TIME_STR_MAX_LEN] = {0};
    struct aws_byte_buf buf = aws_byte_buf_from_empty_array(text, sizeof(text));
    aws_date_time_init_now(&now);
    long long skew = atomic_load_explicit(&request->client->endpoint->clock_skew_s, memory_order_relaxed);
    aws_date_time_init_epoch_secs(&now, (double)((long long)aws_date_time_as_epoch_secs(&now) + skew));
    if (aws_date_time_to_utc_time_str(&now, AWS_DATE_FORMAT_RFC822, &buf) != AWS_OP_SUCCESS) {
        return AWS_OP_ERR;
    }
    return s_add(message, "x-ms-date", aws_byte_cursor_from_buf(&buf));
}

static int s_shared_key(struct cml_request *request, struct aws_http_message *message, struct aws_byte_cursor account,
                        struct aws_byte_cursor key) {
    if (s_add_date(request, message) != AWS_OP_SUCCESS) {
        return AWS_OP_ERR;
    }
    struct aws_http_headers *headers = aws_http_message_get_headers(message);
    struct aws_byte_cursor target;
    struct aws_byte_buf text, value;
    aws_http_message_get_request_path(message, &target);
    aws_byte_buf_init(&text, aws_default_allocator(), 1024);
    aws_byte_buf_init(&value, aws_default_allocator(), 128);
    s_append_text(&text, request->method);
    s_append_text(&text, "\n");
    s_append_plain_headers(&text, headers);
    int result = s_append_ms_headers(&text, headers);
    if (result == AWS_OP_SUCCESS) {
        result = s_append_resource(&text, account, target);
    }
    if (result == AWS_OP_SUCCESS) {
        result = s_signature(account, key, aws_byte_cursor_from_buf(&text), &value);
    }
    if (result == AWS_OP_SUCCESS) {
        result = s_add(message, "Authorization", aws_byte_cursor_from_buf(&value));
    }
    aws_byte_buf_clean_up(&text);
    aws_byte_buf_clean_up(&value);
    return result;
}

static enum cml_auth s_azure(struct aws_credentials *credentials) {
    struct aws_byte_cursor id = aws_credentials_get_access_key_id(credentials);
    if (aws_byte_cursor_eq_c_str(&id, "-")) {
        return CML_AUTH_BEARER;
    }
    return aws_byte_cursor_eq_c_str(&id, "?") ? CML_AUTH_QUERY : CML_AUTH_SHARED_KEY;
}

int cml_authorize(struct cml_request *request, struct aws_http_message *message, struct aws_credentials *credentials) {
    if (aws_credentials_is_anonymous(credentials)) {
        return AWS_OP_SUCCESS;
    }
    enum cml_auth auth = request->client->auth;
    switch (auth == CML_AUTH_AZURE ? s_azure(credentials) : auth) {
        case CML_AUTH_BEARER:
            return s_bearer(message, aws_credentials_get_session_token(credentials));
        case CML_AUTH_QUERY:
            return s_query(message, aws_credentials_get_session_token(credentials));
        case CML_AUTH_HEADERS:
            return s_lines(message, aws_credentials_get_session_token(credentials));
        case CML_AUTH_SHARED_KEY:
            return s_shared_key(request, message, aws_credentials_get_access_key_id(credentials),
                                aws_credentials_get_secret_access_key(credentials));
        default:
            return cml_sign(request, message, credentials);
    }
}
