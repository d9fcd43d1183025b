/* aws-c-s3's errors as ours. It has an error of its own for what it tries again by itself, and then forgets the
 * response; the status and the code of S3's that stand behind it are put back here. */
#include "bulk.h"

#include <aws/http/http.h>
#include <aws/io/io.h>
#include <stdio.h>
#include <string.h>

static int s_status_of(struct cml_request *request, int status, const char *code) {
    char text[128];
    int length = snprintf(text, sizeof(text), "<Error><Code>%s</Code></Error>", code);
    if (request->error_len == 0) {
        cml_keep_error_body(request, (const uint8_t *)text, (size_t)length);
    }
    if (request->current.status < 300) {
        request->current.status = status;
    }
    return CML_ERR_STATUS;
}

static int s_io(int crt_error) {
    switch (crt_error) {
        case AWS_ERROR_HTTP_CHANNEL_THROUGHPUT_FAILURE:
        case AWS_ERROR_HTTP_RESPONSE_FIRST_BYTE_TIMEOUT:
            return CML_ERR_STALL_TIMEOUT;
        case AWS_AUTH_CREDENTIALS_PROVIDER_DELEGATE_FAILURE:
            return CML_ERR_CREDENTIALS;
        case AWS_ERROR_FILE_READ_FAILURE:
        case AWS_ERROR_S3_FILE_MODIFIED:
        case AWS_ERROR_S3_INCORRECT_CONTENT_LENGTH:
            return CML_ERR_BODY_READ;
        case AWS_IO_SOCKET_CONNECTION_REFUSED:
        case AWS_IO_SOCKET_NO_ROUTE_TO_HOST:
        case AWS_IO_SOCKET_NETWORK_DOWN:
        case AWS_IO_DNS_QUERY_FAILED:
        case AWS_IO_DNS_INVALID_NAME:
        case AWS_IO_DNS_NO_ADDRESS_FOR_HOST:
        case AWS_IO_DNS_QUERY_AGAIN:
        case AWS_IO_SOCKET_TIMEOUT:
        case AWS_IO_TLS_NEGOTIATION_TIMEOUT:
        case AWS_ERROR_HTTP_PROXY_CONNECT_FAILED:
        case AWS_ERROR_HTTP_PROXY_CONNECT_FAILED_RETRYABLE:
            return cml_error_from_crt(crt_error, true);
        default:
            return cml_error_from_crt(crt_error, false);
    }
}

int cml_bulk_error(struct cml_request *request, int crt_error) {
    if (request->bulk->os_error != 0) {
        return CML_ERR_FILE;
    }
    switch (crt_error) {
        case AWS_ERROR_S3_INVALID_RESPONSE_STATUS:
        case AWS_ERROR_S3_NON_RECOVERABLE_ASYNC_ERROR:
        case AWS_ERROR_S3_OBJECT_MODIFIED:
            return CML_ERR_STATUS;
        case AWS_ERROR_S3_SLOW_DOWN:
            return s_status_of(request, 503, "SlowDown");
        case AWS_ERROR_S3_INTERNAL_ERROR:
            return s_status_of(request, 500, "InternalError");
        case AWS_ERROR_S3_REQUEST_TIME_TOO_SKEWED:
            return s_status_of(request, 403, "RequestTimeTooSkewed");
        case AWS_ERROR_S3_REQUEST_TIMEOUT:
            return s_status_of(request, 400, "RequestTimeout");
        case AWS_ERROR_S3_RESPONSE_CHECKSUM_MISMATCH:
            return CML_ERR_CHECKSUM;
        case AWS_ERROR_S3_MISSING_CONTENT_RANGE_HEADER:
        case AWS_ERROR_S3_INVALID_CONTENT_RANGE_HEADER:
        case AWS_ERROR_SHORT_BUFFER:
        case AWS_ERROR_DEST_COPY_TOO_SMALL:
            return CML_ERR_WRONG_RANGE;
        case AWS_ERROR_S3_MISSING_ETAG:
        case AWS_ERROR_S3_MISSING_UPLOAD_ID:
            return CML_ERR_PROTOCOL;
        case AWS_ERROR_S3_CANCELED:
            return CML_ERR_CANCELLED;
        case AWS_ERROR_S3_BUFFER_ALLOCATION_FAILED:
            return CML_ERR_RESOURCES;
        default:
            break;
    }
    return s_io(crt_error);
}
