/* Credentials: requests wait for a snapshot, are told of its failure, outlive its expiry and a refusal; what is signed
 * shows on the wire.
 */
#include "support/engine.h"

static struct server server;
static struct cml_queue *wanted;
static atomic_uint attempts, refusals;
static char authorization[600], token[100], date[40];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the three above */

static void s_note(struct exchange *x) {
    pthread_mutex_lock(&lock);
    const char *value = header(x, "Authorization");
    snprintf(authorization, sizeof(authorization), "%s", value != NULL ? value : "");
    value = header(x, "x-amz-security-token");
    snprintf(token, sizeof(token), "%s", value != NULL ? value : "");
    value = header(x, "x-amz-date");
    snprintf(date, sizeof(date), "%s", value != NULL ? value : "");
    pthread_mutex_unlock(&lock);
}

static bool s_handle(struct exchange *x) {
    static const char late[] = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    unsigned attempt = atomic_fetch_add(&attempts, 1);
    s_note(x);
    if (strcmp(x->path, "/refused") == 0 && strstr(header(x, "Authorization"), "KEYNEW") == NULL) {
        atomic_fetch_add(&refusals, 1);
        return say(x, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    }
    if (strcmp(x->path, "/skewed") == 0 && attempt == 0) {
        return say(x, "HTTP/1.1 403 Forbidden\r\nDate: Sat, 01 Jan 2050 00:00:00 GMT\r\nContent-Length: %zu\r\n\r\n%s",
                   sizeof(late) - 1, late);
    }
    check_sleep_ms(strcmp(x->path, "/slow") == 0 ? 30 : 0);
    return send_object(x, 1000, "\"one\"");
}

/* Whether the last request said so: nothing, when text is empty. */
static bool s_said(const char *what, const char *text) {
    pthread_mutex_lock(&lock);
    bool said = text[0] == 0 ? what[0] == 0 : strstr(what, text) != NULL;
    pthread_mutex_unlock(&lock);
    return said;
}

static uint64_t s_unix_ms(void) {
    return (uint64_t)time(NULL) * 1000;
}

static struct cml_client *s_client(struct cml_credentials *source, uint32_t connections) {
    struct cml_client_options options = client_options(&server);
    options.max_connections = connections;
    options.region = "eu-west-1";
    options.service = "s3";
    options.credentials = source;
    return cml_client_new(&options);
}

static void s_submit(struct call *call, struct cml_client *client, const char *path) {
    call_new(call, client, "GET", path);
    call_submit(call);
}

static int s_get(struct cml_client *client, const char *path) {
    struct call call;
    s_submit(&call, client, path);
    int error = CHECK(call_wait(&call, LONG_MS)) ? call.progress.error : -1;
    call_free(&call);
    return error;
}

static struct cml_credentials *s_source(void) {
    return cml_credentials_new(wanted, &server); /* anything that can be told again */
}

/* Whether the one source of the test was asked for since the last look: once, however many want it. */
static bool s_asked(unsigned timeout_ms) {
    double until = check_now_s() + timeout_ms / 1000.0;
    bool found = false;
    do {
        cml_queue_wait(wanted, 5);
        for (struct cml_node *node = cml_queue_take_all(wanted), *next; node != NULL; node = next) {
            next = node->next;
            CHECK(!found);
            found = CHECK(cml_credentials_user_data_of_node(node) == &server);
        }
    } while (!found && check_now_s() < until);
    return found;
}

static void test_static(void) {
    section("static keys sign at once; none at all fail at once; anonymous does not sign");
    struct cml_credentials *source = cml_credentials_new(NULL, NULL);
    struct cml_client *client = s_client(source, 4);
    CHECK_ERROR(s_get(client, "/object"), CML_ERR_CREDENTIALS);
    cml_credentials_publish(source, "KEYID", "secret", "a-token", 0, 0);
    CHECK_ERROR(s_get(client, "/object"), CML_OK);
    CHECK(s_said(authorization, "AWS4-HMAC-SHA256 Credential=KEYID/"));
    CHECK(s_said(authorization, "/eu-west-1/s3/aws4_request"));
    CHECK(s_said(token, "a-token"));
    struct call call;
    call_new(&call, client, "GET", "/object");
    cml_request_set_flags(call.request, CML_FLAG_UNSIGNED);
    CHECK_ERROR(call_run(&call), CML_OK);
    CHECK(s_said(authorization, ""));
    call_free(&call);
    cml_credentials_publish(source, NULL, NULL, NULL, 0, 0);
    CHECK_ERROR(s_get(client, "/object"), CML_OK);
    CHECK(s_said(authorization, ""));
    cml_client_release(client);
    cml_credentials_release(source);
}

static void test_wait(void) {
    section("many requests wait for one refresh; it is asked for once");
    enum { COUNT = 40 };
    struct cml_credentials *source = s_source();
    struct cml_client *client = s_client(source, 4);
    struct call calls[COUNT];
    for (int i = 0; i < COUNT; ++i) {
        s_submit(&calls[i], client, "/object");
    }
    CHECK(s_asked(LONG_MS));
    call_watch(&calls[0], 50);
    CHECK(!s_asked(0));
    cml_request_cancel(calls[7].request); /* while it waits */
    CHECK(call_wait(&calls[7], LONG_MS));
    cml_credentials_publish(source, "KEY1", "secret", NULL, s_unix_ms() + 3600000, s_unix_ms() + 1800000);
    for (int i = 0; i < COUNT; ++i) {
        CHECK(call_wait(&calls[i], LONG_MS));
        CHECK_ERROR(calls[i].progress.error, i == 7 ? CML_ERR_CANCELLED : CML_OK);
        call_free(&calls[i]);
    }
    CHECK(!s_asked(0));
    cml_client_release(client);
    cml_credentials_release(source);
}

static void test_failure(void) {
    section("a failed refresh fails who waits, and is not asked for again within a second");
    struct cml_credentials *source = s_source();
    struct cml_client *client = s_client(source, 4);
    struct call call;
    s_submit(&call, client, "/object");
    CHECK(s_asked(LONG_MS));
    cml_credentials_publish_failure(source, "no such profile");
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_ERR_CREDENTIALS);
    call_free(&call);
    char text[8];
    CHECK(cml_credentials_failure(source, text, sizeof(text)) == 7 && strcmp(text, "no such") == 0);
    CHECK_ERROR(s_get(client, "/object"), CML_ERR_CREDENTIALS);
    CHECK(!s_asked(0));
    check_sleep_ms(1050);
    s_submit(&call, client, "/object");
    CHECK(s_asked(LONG_MS));
    cml_credentials_publish(source, "KEY2", "secret", NULL, 0, 0);
    CHECK(call_wait(&call, LONG_MS));
    CHECK_ERROR(call.progress.error, CML_OK);
    call_free(&call);
    char message[2000];
    memset(message, 'm', sizeof(message));
    message[1999] = 0;
    cml_credentials_publish_failure(source, message);
    CHECK_EQ(cml_credentials_failure(source, message, sizeof(message)), 511);
    CHECK_ERROR(s_get(client, "/object"), CML_OK); /* what is still valid goes on serving */
    cml_client_release(client);
    cml_credentials_release(source);
    s_asked(20);
}

static void test_refresh(void) {
    section("keys due for refresh serve on; expired ones do not");
    struct cml_credentials *source = s_source();
    struct cml_client *client = s_client(source, 4);
    cml_credentials_publish(source, "KEY3", "secret", NULL, s_unix_ms() + 60000, s_unix_ms() - 1000);
    CHECK_ERROR(s_get(client, "/object"), CML_OK);
    CHECK(s_asked(LONG_MS));
    cml_credentials_publish(source, "KEY4", "secret", NULL, s_unix_ms() - 1000, s_unix_ms() + 60000);
    struct call call;
    s_submit(&call, client, "/object");
    CHECK(s_asked(LONG_MS));
    call_watch(&call, 30);
    CHECK(!call.progress.finished);
    cml_credentials_publish(source, "KEY5", "secret", NULL, 0, 0);
    CHECK(call_wait(&call, LONG_MS));
    CHECK(s_said(authorization, "KEY5"));
    call_free(&call);
    cml_client_release(client);
    cml_credentials_release(source);
}

/* One connection: while the first request holds it, what the others queue with is taken away. */
static void test_expiry_in_the_queue(void) {
    section("keys that are gone when a connection comes are waited for anew, by all that queue");
    enum { COUNT = 10000 }; /* as deep a stack, if serving one led to serving the next */
    static struct call calls[COUNT];
    struct cml_credentials *source = s_source();
    struct cml_client *client = s_client(source, 1);
    cml_credentials_publish(source, "KEY6", "secret", NULL, 0, 0);
    s_submit(&calls[0], client, "/slow");
    for (int i = 1; i < COUNT; ++i) {
        s_submit(&calls[i], client, "/object");
    }
    check_sleep_ms(10);
    cml_credentials_invalidate(source);
    CHECK(s_asked(LONG_MS));
    call_watch(&calls[0], 50);
    for (int i = 0; i < 20; ++i) { /* published and taken away before those told of it look */
        cml_credentials_publish(source, "KEY7", "secret", NULL, 0, 0);
        cml_credentials_invalidate(source);
        s_asked(2);
    }
    cml_credentials_publish(source, "KEY7", "secret", NULL, 0, 0);
    for (int i = 0; i < COUNT; ++i) {
        CHECK(call_wait(&calls[i], LONG_MS));
        CHECK_ERROR(calls[i].progress.error, CML_OK);
        call_free(&calls[i]);
    }
    cml_client_release(client);
    cml_credentials_release(source);
    s_asked(20);
}

static void test_refused(void) {
    section("a refusal of old keys asks for new ones once; of new keys it is an error");
    struct cml_credentials *source = s_source();
    struct cml_client *client = s_client(source, 4);
    cml_credentials_publish(source, "KEYOLD", "secret", NULL, 0, 0);
    CHECK_ERROR(s_get(client, "/refused"), CML_ERR_STATUS); /* just made: not at fault */
    CHECK(!s_asked(20));
    check_sleep_ms(5100);
    atomic_store(&refusals, 0);
    struct call calls[8];
    for (int i = 0; i < 8; ++i) {
        s_submit(&calls[i], client, "/refused");
    }
    CHECK(s_asked(LONG_MS));
    call_watch(&calls[0], 50);
    cml_credentials_publish(source, "KEYNEW", "secret", NULL, 0, 0);
    for (int i = 0; i < 8; ++i) {
        CHECK(call_wait(&calls[i], LONG_MS));
        CHECK_ERROR(calls[i].progress.error, CML_OK);
        call_free(&calls[i]);
    }
    CHECK(!s_asked(20));
    CHECK(atomic_load(&refusals) >= 1 && atomic_load(&refusals) <= 8);
    section("a clock that is wrong is set by the server's");
    atomic_store(&attempts, 0);
    CHECK_ERROR(s_get(client, "/skewed"), CML_OK);
    CHECK(s_said(date, "20500101T0000"));
    CHECK_ERROR(s_get(client, "/object"), CML_OK);
    CHECK(s_said(date, "20500101T0000"));
    cml_client_release(client);
    cml_credentials_release(source);
}

static void test_source_dies_wanted(void) {
    section("a source that is released while it is wanted");
    struct cml_credentials *source = s_source();
    struct cml_client *client = s_client(source, 4);
    struct call call;
    s_submit(&call, client, "/object");
    call_watch(&call, 30);
    cml_request_cancel(call.request);
    CHECK(call_wait(&call, LONG_MS));
    call_free(&call);
    cml_client_release(client);
    cml_credentials_release(source);
    CHECK(s_asked(LONG_MS));
}

int main(void) {
    engine_start(2, 64);
    server_start(&server, s_handle);
    wanted = cml_queue_new_cond();
    test_static();
    test_wait();
    test_failure();
    test_refresh();
    test_expiry_in_the_queue();
    test_refused();
    test_source_dies_wanted();
    cml_queue_release(wanted);
    return engine_end(&server);
}
