/* Bulk jobs: requests that aws-c-s3 carries out as many (the parts of an upload, the ranges of a download).
 *
 * A job is a cml_request like any other to whoever waits for it: it is submitted, announced, cancelled and released in
 * the same way. It belongs to no shard; its `bulk` says what it is, and aws-c-s3's threads call back about it.
 *
 * bulk.c          a job's life: the callbacks, the end, another try, exit
 * bulk_make.c     a job as aws-c-s3's options
 * bulk_stop.c     how it is stopped
 * bulk_file.c     where a download to a file is written
 * bulk_errors.c   aws-c-s3's errors as ours
 * bulk_client.c   the clients of aws-c-s3, few and shared, and where they find credentials
 * bulk_pool.c     the memory of parts: our buffers, within the budget
 */
#ifndef CML_BULK_H
#define CML_BULK_H

#include "internal.h"

#include <aws/s3/s3_buffer_pool.h>
#include <aws/s3/s3_client.h>
#include <time.h>

struct cml_bulk {
    struct cml_request *owner;       /* which owns this */
    struct cml_bulk_options options; /* immutable once submitted; its texts are owned */
    struct cml_link link;            /* in the list of jobs under way, under its lock */
    /* under the request's lock */
    struct aws_s3_meta_request *meta; /* referenced, from the making of it until its finish */
    bool starting;                    /* the meta request is being made */
    bool writing;                     /* to the file of a download */
    bool creating;                    /* an upload: nobody knows its name yet */
    bool patient;                     /* stopped, and waiting for that name */
    bool finish_seen;                 /* of this try */
    bool stopped;                     /* cancelled, or the process exits */
    int why_stopped;
    uint32_t failed_attempts; /* of the HTTP request that failed last */
    uint32_t tries;           /* of the job as a whole */
    int fd; /* immutable once submitted: where a download goes; -1 before that is known */
    uint64_t file_offset;
    struct timespec file_time; /* immutable once submitted: when an upload's file was last written to */
    int64_t file_size;
    /* aws-c-s3's threads, one after the other; read at the end */
    struct aws_byte_buf into; /* where a GET goes */
    int crt_error, os_error;
    struct aws_task again_task, patience_task;
    uint64_t again_at_ns;
    _Atomic uint64_t publication; /* of the credentials that signed last */
};

/* request.c: ends a request, whoever carried it out */
void cml_request_conclude(struct cml_request *request, int error, int crt_error);
/* transport.c: the message, with the content as its body */
struct aws_http_message *cml_transport_message(struct cml_request *request);
/* endpoint.c */
void cml_endpoint_proxy_options(const struct cml_endpoint *endpoint, struct aws_http_proxy_options *proxy);

/* bulk.c, for client.c and runtime.c */
void cml_bulk_submit(struct cml_request *request);
void cml_bulk_free(struct cml_bulk *bulk);
bool cml_bulk_quiesce(uint32_t timeout_ms);
void cml_bulk_after_fork_in_child(void);

struct aws_s3_meta_request *cml_bulk_meta(struct cml_request *request); /* referenced; NULL when there is none */

/* bulk_stop.c */
void cml_bulk_cancel(struct cml_request *request);
bool cml_bulk_stop(struct cml_request *request, int why); /* whether aws-c-s3 was at it */
bool cml_bulk_stop_meta(struct cml_request *request);
void cml_bulk_created(struct cml_request *request);       /* the upload, or it never will be */
void cml_bulk_pause(void);                                /* a millisecond */

/* bulk_make.c. The callbacks are the caller's. NULL: aws_last_error(). */
struct aws_s3_meta_request *cml_bulk_make(struct cml_request *request, struct aws_s3_meta_request_options *callbacks);

/* bulk_file.c */
bool cml_bulk_feed_file(struct cml_request *request, int fd, uint64_t offset, uint64_t length);
int cml_bulk_on_body(struct aws_s3_meta_request *meta, const struct aws_byte_cursor *body, uint64_t range_start,
                     void *user_data);

/* bulk_errors.c: CML_ERR_*; notes the status and code where aws-c-s3 only has its own error for them */
int cml_bulk_error(struct cml_request *request, int crt_error);
static inline bool cml_bulk_is_get(const struct cml_bulk *bulk) {
    return bulk->options.job == CML_BULK_GET || bulk->options.job == CML_BULK_GET_FILE;
}

/* bulk_client.c */
struct cml_bulk_client;
struct aws_s3_client *cml_bulk_client_get(struct cml_client *client); /* NULL: aws_last_error(); may block */
void cml_bulk_clients_release(struct cml_bulk_client *first);         /* an endpoint's, when it goes */
void cml_bulk_clients_after_fork_in_child(void);
struct aws_credentials_provider *cml_bulk_credentials_new(struct cml_request *request);

/* bulk_pool.c */
struct aws_s3_buffer_pool *cml_bulk_pool_new(struct aws_allocator *alloc, struct aws_s3_buffer_pool_config config,
                                             void *user_data);

#endif
