/* What can heal, and how long to wait before trying. Pure but for the random jitter. */
#include "internal.h"

#include <aws/common/device_random.h>
#include <aws/http/http.h>
#include <aws/io/io.h>
#include <math.h>
#include <string.h>

static int s_error_while_connecting(int crt_error) {
    switch (crt_error) {
        case AWS_IO_DNS_QUERY_FAILED:
        case AWS_IO_DNS_INVALID_NAME:
        case AWS_IO_DNS_NO_ADDRESS_FOR_HOST:
        case AWS_IO_DNS_QUERY_AGAIN: /* request.c tries this one again, a few times: name servers do hiccup */
            return CML_ERR_DNS;
        case AWS_IO_SOCKET_TIMEOUT:
        case AWS_IO_TLS_NEGOTIATION_TIMEOUT:
            return CML_ERR_CONNECT_TIMEOUT;
        case AWS_ERROR_HTTP_PROXY_CONNECT_FAILED:
        case AWS_ERROR_HTTP_PROXY_CONNECT_FAILED_RETRYABLE:
            return CML_ERR_PROXY;
        case AWS_ERROR_MAX_FDS_EXCEEDED:
        case AWS_ERROR_OOM:
        case AWS_ERROR_NO_PERMISSION:
            return crt_error == AWS_ERROR_NO_PERMISSION ? CML_ERR_CONNECT : CML_ERR_RESOURCES;
        default:
            return CML_ERR_CONNECT;
    }
}

static bool s_is_tls_error(int crt_error) {
    switch (crt_error) {
        case AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE:
        case AWS_IO_TLS_ERROR_ALERT_RECEIVED:
        case AWS_IO_TLS_CTX_ERROR:
        case AWS_IO_TLS_VERSION_UNSUPPORTED:
        case AWS_IO_TLS_ERROR_DEFAULT_TRUST_STORE_NOT_FOUND:
        case AWS_IO_TLS_UNKNOWN_ROOT_CERTIFICATE:
        case AWS_IO_TLS_NO_ROOT_CERTIFICATE_FOUND:
        case AWS_IO_TLS_CERTIFICATE_EXPIRED:
        case AWS_IO_TLS_CERTIFICATE_NOT_YET_VALID:
        case AWS_IO_TLS_BAD_CERTIFICATE:
        case AWS_IO_TLS_PEER_CERTIFICATE_EXPIRED:
        case AWS_IO_TLS_BAD_PEER_CERTIFICATE:
        case AWS_IO_TLS_PEER_CERTIFICATE_REVOKED:
        case AWS_IO_TLS_PEER_CERTIFICATE_UNKNOWN:
        case AWS_IO_TLS_INVALID_CERTIFICATE_CHAIN:
        case AWS_IO_TLS_HOST_NAME_MISMATCH:
            return true;
        default:
            return false;
    }
}

int cml_error_from_crt(int crt_error, bool connecting) {
    if (crt_error == 0) {
        return CML_OK;
    }
    if (s_is_tls_error(crt_error)) {
        return CML_ERR_TLS;
    }
    if (connecting) {
        return s_error_while_connecting(crt_error);
    }
    switch (crt_error) {
        case AWS_ERROR_HTTP_PROTOCOL_ERROR:
        case AWS_ERROR_HTTP_INVALID_STATUS_CODE:
        case AWS_ERROR_HTTP_INVALID_HEADER_FIELD:
        case AWS_ERROR_HTTP_INVALID_HEADER_NAME:
        case AWS_ERROR_HTTP_INVALID_HEADER_VALUE:
        case AWS_ERROR_HTTP_UNSUPPORTED_PROTOCOL:
            return CML_ERR_PROTOCOL;
        case AWS_ERROR_HTTP_OUTGOING_STREAM_LENGTH_INCORRECT:
        case AWS_IO_STREAM_READ_FAILED:
            return CML_ERR_BODY_READ;
        case AWS_ERROR_OOM:
            return CML_ERR_RESOURCES;
        case AWS_IO_SOCKET_TIMEOUT:
            return CML_ERR_STALL_TIMEOUT;
        default:
            return CML_ERR_RESET;
    }
}

int cml_error_of_unsent(int crt_error) {
    switch (crt_error) {
        case AWS_ERROR_HTTP_CONNECTION_CLOSED:
        case AWS_ERROR_HTTP_SWITCHED_PROTOCOLS:
            return CML_ERR_RESET; /* the connection went away while it was idle */
        case AWS_IO_STREAM_READ_FAILED:
            return CML_ERR_BODY_READ;
        case AWS_ERROR_HTTP_STREAM_CANCELLED:
            return CML_ERR_CANCELLED;
        default:
            return CML_ERR_INTERNAL; /* a header or path that HTTP does not allow, say: it never will */
    }
}

bool cml_error_is_retryable(int error) {
    switch (error) {
        case CML_ERR_CONNECT:
        case CML_ERR_CONNECT_TIMEOUT:
        case CML_ERR_STALL_TIMEOUT:
        case CML_ERR_RESET:
        case CML_ERR_TRUNCATED:
        case CML_ERR_PROTOCOL:
        case CML_ERR_NO_LENGTH:
        case CML_ERR_WRONG_RANGE:
        case CML_ERR_PROXY:
        case CML_ERR_RESOURCES:
            return true;
        default:
            return false;
    }
}

bool cml_body_has_code(const char *body, size_t len, const char *code) {
    size_t code_len = strlen(code);
    static const char open[] = "<Code>";
    const size_t open_len = sizeof(open) - 1;
    for (size_t i = 0; i + open_len + code_len <= len; ++i) {
        if (body[i] == '<' && memcmp(body + i, open, open_len) == 0) {
            return memcmp(body + i + open_len, code, code_len) == 0 &&
                   (i + open_len + code_len == len || body[i + open_len + code_len] == '<');
        }
    }
    return false;
}

/* S3 and MinIO by code, some of S3's gateways only by their message; 429 is anybody's (RFC 6585). */
bool cml_status_is_throttling(const struct cml_response *response, const char *body, size_t len) {
    static const char *const codes[] = {"SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling"};
    static const char words[] = "reduce your request rate";
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); ++i) {
        if (cml_body_has_code(body, len, codes[i])) {
            return true;
        }
    }
    return response->status == 429 || (len > 0 && memmem(body, len, words, sizeof(words) - 1) != NULL);
}

bool cml_status_is_retryable(const struct cml_response *response, const char *body, size_t len) {
    int status = response->status;
    if (status == 429 || status == 408 || (status >= 500 && status != 501 && status != 505)) {
        return true;
    }
    /* S3 says these by code, whatever the status (API reference, error responses). */
    return (status == 400 && cml_body_has_code(body, len, "RequestTimeout")) ||
           (status == 409 && (cml_body_has_code(body, len, "OperationAborted") ||
                              cml_body_has_code(body, len, "ConditionalRequestConflict"))) ||
           (status == 200 && len > 0) || /* an <Error> in a 200: see CML_FLAG_ERROR_IN_200 */
           (status < 500 && cml_status_is_throttling(response, body, len));
}

uint64_t cml_backoff_ns(const struct cml_client *client, uint32_t failures, int32_t retry_after_s) {
    double cap = client->backoff_init_ms * pow(client->backoff_base, failures > 30 ? 30 : failures);
    if (cap > client->backoff_max_ms) {
        cap = client->backoff_max_ms;
    }
    uint64_t random = 0;
    aws_device_random_u64(&random);
    double jitter = (double)(random >> 11) / 9007199254740992.0; /* [0, 1) */
    uint64_t wait = (uint64_t)(cap * (0.5 + 0.5 * jitter) * 1e6);
    uint64_t asked = retry_after_s > 0 ? (uint64_t)retry_after_s * 1000000000ull : 0;
    return wait > asked ? wait : asked + wait / 2;
}
