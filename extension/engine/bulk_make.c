/* A bulk job as a meta request of aws-c-s3: what it is to do, how to sign it, where its content is. */
#include "bulk.h"

#include <aws/auth/signing_config.h>
#include <aws/common/uri.h>
#include <stdio.h>
#include <string.h>

static enum aws_s3_checksum_algorithm s_algorithm(const char *name) {
    static const struct {
        const char *name;
        enum aws_s3_checksum_algorithm algorithm;
    } known[] = {
        {"CRC64NVME", AWS_SCA_CRC64NVME},
        {"CRC32C", AWS_SCA_CRC32C},
        {"CRC32", AWS_SCA_CRC32},
        {"SHA256", AWS_SCA_SHA256},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); ++i) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].algorithm;
        }
    }
    return AWS_SCA_NONE;
}

static void s_checksum(const struct cml_bulk_options *options, struct aws_s3_checksum_config *config) {
    if (options->expected != NULL) {
        config->expected_checksum = aws_byte_cursor_from_c_str(options->expected);
        config->expected_checksum_algorithm = s_algorithm(options->checksum);
    } else if (options->checksum != NULL) {
        config->location = AWS_SCL_HEADER;
        config->checksum_algorithm = s_algorithm(options->checksum);
    }
}

/* The payload's hash is never sent: aws-c-s3 would replace it. */
static void s_signing(struct cml_request *request, struct aws_signing_config_aws *config) {
    struct cml_client *client = request->client;
    AWS_ZERO_STRUCT(*config);
    config->config_type = AWS_SIGNING_CONFIG_AWS;
    config->algorithm = client->auth == CML_AUTH_S3EXPRESS ? AWS_SIGNING_ALGORITHM_V4_S3EXPRESS : AWS_SIGNING_ALGORITHM_V4;
    config->signature_type = AWS_ST_HTTP_REQUEST_HEADERS;
    config->signed_body_header = AWS_SBHT_X_AMZ_CONTENT_SHA256;
    config->signed_body_value = g_aws_signed_body_value_unsigned_payload;
    if (cml_signs(request)) {
        config->region = aws_byte_cursor_from_c_str(client->region);
        config->service = aws_byte_cursor_from_c_str(client->service);
        config->credentials_provider = cml_bulk_credentials_new(request);
    } else {
        config->region = aws_byte_cursor_from_c_str("us-east-1");
        config->credentials = aws_credentials_new_anonymous(client->endpoint->runtime->alloc);
    }
}

static int s_uri(const struct cml_client *client, struct aws_uri *uri) {
    char text[512];
    int length = snprintf(text, sizeof(text), "%s://%s", client->endpoint->tls ? "https" : "http", client->host_header);
    struct aws_byte_cursor cursor = aws_byte_cursor_from_array(text, (size_t)length);
    if (length >= (int)sizeof(text)) {
        return aws_raise_error(AWS_ERROR_INVALID_ARGUMENT);
    }
    if (aws_uri_init_parse(uri, client->endpoint->runtime->alloc, &cursor) != AWS_OP_SUCCESS) {
        return AWS_OP_ERR;
    }
    uri->port = client->endpoint->port;
    return AWS_OP_SUCCESS;
}

/* Where the content comes from or goes to. */
static void s_content(struct cml_request *request, struct aws_s3_meta_request_options *options) {
    struct cml_bulk *bulk = request->bulk;
    struct aws_http_message *message = options->message;
    switch (bulk->options.job) {
        case CML_BULK_GET:
            options->type = AWS_S3_META_REQUEST_TYPE_GET_OBJECT;
            bulk->into = aws_byte_buf_from_empty_array(request->pieces[0].data, request->pieces[0].capacity);
            options->recv_buffer = &bulk->into;
            break;
        case CML_BULK_GET_FILE:
            options->type = AWS_S3_META_REQUEST_TYPE_GET_OBJECT;
            options->body_callback = cml_bulk_on_body;
            options->out_of_order_delivery = AWS_TRIBOOL_TRUE; /* no part waits in memory for those before it */
            break;
        case CML_BULK_COPY:
            options->type = AWS_S3_META_REQUEST_TYPE_COPY_OBJECT;
            options->copy_source_uri = aws_byte_cursor_from_c_str(bulk->options.copy_source);
            break;
        case CML_BULK_PUT_FILE:
            options->send_filepath = aws_byte_cursor_from_c_str(bulk->options.file);
            aws_http_message_set_body_stream(message, NULL);
            /* fall through */
        case CML_BULK_PUT:
            options->type = AWS_S3_META_REQUEST_TYPE_PUT_OBJECT;
            break;
        case CML_BULK_PUT_WRITES:
            options->type = AWS_S3_META_REQUEST_TYPE_PUT_OBJECT;
            options->send_using_async_writes = true;
            aws_http_headers_erase(aws_http_message_get_headers(message), aws_byte_cursor_from_c_str("Content-Length"));
            break;
    }
}

static struct aws_s3_meta_request *s_make(struct cml_request *request, struct aws_s3_client *client,
                                          struct aws_s3_meta_request_options *options) {
    const struct cml_bulk_options *own = &request->bulk->options;
    struct aws_signing_config_aws signing;
    struct aws_s3_checksum_config checksum = {0};
    struct aws_s3_file_io_options whole_parts = {.should_stream = false}; /* their checksums go into headers */
    s_signing(request, &signing);
    s_checksum(own, &checksum);
    options->message = cml_transport_message(request);
    options->signing_config = &signing;
    options->checksum_config = own->checksum != NULL ? &checksum : NULL;
    options->fio_opts = &whole_parts;
    options->part_size = own->part_bytes;
    options->multipart_upload_threshold = own->part_bytes;
    options->max_active_connections_override = own->max_concurrency;
    options->user_data = request;
    s_content(request, options);
    struct aws_s3_meta_request *meta = aws_s3_client_make_meta_request(client, options);
    int error = aws_last_error();
    aws_http_message_release(options->message);
    aws_credentials_release(signing.credentials);
    aws_credentials_provider_release(signing.credentials_provider);
    if (meta == NULL) {
        aws_raise_error(error);
    }
    return meta;
}

struct aws_s3_meta_request *cml_bulk_make(struct cml_request *request, struct aws_s3_meta_request_options *callbacks) {
    struct aws_s3_client *client = cml_bulk_client_get(request->client);
    struct aws_uri uri;
    if (client == NULL || s_uri(request->client, &uri) != AWS_OP_SUCCESS) {
        return NULL;
    }
    struct aws_s3_meta_request_options options = *callbacks;
    options.endpoint = &uri;
    struct aws_s3_meta_request *meta = s_make(request, client, &options);
    aws_uri_clean_up(&uri);
    return meta;
}
