/* SigV4 for one request, on its loop's thread, just before it is written: the date and the snapshot are the latest.
 *
 * Source of the rules: Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header". S3 paths are
 * encoded once and never normalized; the payload's hash is a header of its own.
 */
#include "internal.h"

#include <aws/auth/signable.h>
#include <aws/auth/signing.h>
#include <aws/auth/signing_config.h>
#include <aws/auth/signing_result.h>
#include <aws/cal/hash.h>
#include <aws/common/encoding.h>
#include <string.h>
#include <unistd.h>

struct s_signed {
    struct aws_http_message *message;
    int error;
};

static void _on_signed(struct aws_signing_result *result, int error_code, void *user_data) {
    struct s_signed *state = user_data;
    state->error = error_code;
    if (error_code == 0 &&
        aws_apply_signing_result_to_http_request(state->message, aws_default_allocator(), result) != AWS_OP_SUCCESS) {
        state->error = aws_last_error();
    }
}

static int s_hash_file(struct cml_request *request, struct aws_hash *hash) {
    uint8_t block[65536];
    uint64_t at = 0;
    while (at < request->body_length) {
        uint64_t left = request->body_length - at;
        ssize_t got = pread(request->body_fd, block, left < sizeof(block) ? left : sizeof(block),
                            (off_t)(request->body_offset + at));
        if (got <= 0) {
            return aws_raise_error(AWS_IO_STREAM_READ_FAILED);
        }
        struct aws_byte_cursor cursor = aws_byte_cursor_from_array(block, (size_t)got);
        aws_hash_update(hash, &cursor);
        at += (uint64_t)got;
    }
    return AWS_OP_SUCCESS;
}

static int s_payload_hash(struct cml_request *request, char hex[65]) {
    uint8_t digest[32];
    struct aws_byte_buf out = aws_byte_buf_from_empty_array(digest, sizeof(digest));
    struct aws_hash *hash = aws_sha256_new(aws_default_allocator());
    int result = AWS_OP_SUCCESS;
    cml_request_lock(request); /* the source may be revoked while it is read */
    if (request->revoked) {
        result = aws_raise_error(AWS_ERROR_HTTP_STREAM_CANCELLED);
    } else if (request->body_span_count == 0) {
        result = s_hash_file(request, hash);
    }
    for (uint32_t i = 0; i < request->body_span_count && result == AWS_OP_SUCCESS; ++i) {
        struct aws_byte_cursor span = aws_byte_cursor_from_array(request->body_spans[i].data, request->body_spans[i].length);
        result = aws_hash_update(hash, &span);
    }
    pthread_mutex_unlock(&request->lock);
    if (result == AWS_OP_SUCCESS) {
        result = aws_hash_finalize(hash, &out, 0);
    }
    aws_hash_destroy(hash);
    if (result == AWS_OP_SUCCESS) {
        static const char digits[] = "0123456789abcdef";
        for (int i = 0; i < 32; ++i) {
            hex[2 * i] = digits[digest[i] >> 4];
            hex[2 * i + 1] = digits[digest[i] & 15];
        }
        hex[64] = 0;
    }
    return result;
}

int cml_sign(struct cml_request *request, struct aws_http_message *message, struct aws_credentials *credentials) {
    struct cml_client *client = request->client;
    struct aws_signing_config_aws config;
    AWS_ZERO_STRUCT(config);
    config.config_type = AWS_SIGNING_CONFIG_AWS;
    config.algorithm = client->auth == CML_AUTH_S3EXPRESS ? AWS_SIGNING_ALGORITHM_V4_S3EXPRESS : AWS_SIGNING_ALGORITHM_V4;
    config.signature_type = AWS_ST_HTTP_REQUEST_HEADERS;
    config.region = aws_byte_cursor_from_c_str(client->region);
    config.service = aws_byte_cursor_from_c_str(client->service);
    config.signed_body_header = AWS_SBHT_X_AMZ_CONTENT_SHA256;
    config.credentials = credentials;
    aws_date_time_init_now(&config.date);
    long long skew = atomic_load_explicit(&client->endpoint->clock_skew_s, memory_order_relaxed);
    if (skew != 0) {
        aws_date_time_init_epoch_secs(&config.date, aws_date_time_as_epoch_secs(&config.date) + (double)skew);
    }
    char hex[65];
    if (request->body_length == 0) {
        config.signed_body_value = g_aws_signed_body_value_empty_sha256;
    } else if (!client->sign_payload) {
        config.signed_body_value = g_aws_signed_body_value_unsigned_payload;
    } else if (request->payload_sha256 != NULL) {
        config.signed_body_value = aws_byte_cursor_from_c_str(request->payload_sha256);
    } else if (s_payload_hash(request, hex) == AWS_OP_SUCCESS) {
        config.signed_body_value = aws_byte_cursor_from_c_str(hex);
    } else {
        return AWS_OP_ERR;
    }
    struct aws_allocator *alloc = aws_default_allocator();
    struct aws_signable *signable = aws_signable_new_http_request(alloc, message);
    struct s_signed state = {.message = message, .error = AWS_ERROR_UNKNOWN};
    if (aws_sign_request_aws(alloc, signable, (struct aws_signing_config_base *)&config, _on_signed, &state) !=
        AWS_OP_SUCCESS) {
        state.error = aws_last_error();
    }
    aws_signable_destroy(signable);
    return state.error == 0 ? AWS_OP_SUCCESS : aws_raise_error(state.error);
}
