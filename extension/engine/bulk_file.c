/* A download's way to a file: aws-c-s3 hands over each part when it is there, in whatever order, and it is written where
 * it belongs.
 *
 * On a thread of aws-c-s3's that is there for that, one part of a download at a time; other downloads may be given other
 * threads. Always true: nothing is written once the job is stopped, and a stop waits for the write under way.
 */
#include "bulk.h"

#include <errno.h>
#include <unistd.h>

#define STEP_BYTES ((size_t)256 << 10) /* of a write: what a stop may have to wait for */

bool cml_bulk_feed_file(struct cml_request *request, int fd, uint64_t offset, uint64_t length) {
    struct cml_bulk *bulk = request->bulk;
    if (bulk->options.job != CML_BULK_GET_FILE || bulk->fd >= 0 || length != request->range_to - request->range_from) {
        return false;
    }
    bulk->fd = fd;
    bulk->file_offset = offset;
    return true;
}

static bool s_begin_step(struct cml_request *request) {
    cml_request_lock(request);
    bool may = !request->bulk->stopped;
    request->bulk->writing = may;
    pthread_mutex_unlock(&request->lock);
    return may;
}

static void s_end_step(struct cml_request *request) {
    cml_request_lock(request);
    request->bulk->writing = false;
    pthread_mutex_unlock(&request->lock);
}

/* 0, or an errno: ECANCELED once the job is stopped. */
static int s_write(struct cml_request *request, const struct aws_byte_cursor *body, uint64_t at) {
    for (size_t done = 0; done < body->len;) {
        size_t take = body->len - done < STEP_BYTES ? body->len - done : STEP_BYTES;
        if (!s_begin_step(request)) {
            return ECANCELED;
        }
        ssize_t put = pwrite(request->bulk->fd, body->ptr + done, take, (off_t)(at + done));
        int os_error = put < 0 ? errno : put == 0 ? EIO : 0;
        s_end_step(request);
        if (os_error != 0 && os_error != EINTR) {
            return os_error;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

int cml_bulk_on_body(struct aws_s3_meta_request *meta, const struct aws_byte_cursor *body, uint64_t range_start,
                     void *user_data) {
    (void)meta;
    struct cml_request *request = user_data;
    struct cml_bulk *bulk = request->bulk;
    if (range_start < request->range_from || range_start > request->range_to ||
        body->len > request->range_to - range_start) {
        return aws_raise_error(AWS_ERROR_S3_INVALID_CONTENT_RANGE_HEADER);
    }
    int os_error = s_write(request, body, bulk->file_offset + (range_start - request->range_from));
    if (os_error == 0) {
        return AWS_OP_SUCCESS;
    }
    if (os_error == ECANCELED) {
        return aws_raise_error(AWS_ERROR_S3_CANCELED);
    }
    bulk->os_error = os_error;
    return aws_raise_error(AWS_ERROR_FILE_WRITE_FAILURE);
}
