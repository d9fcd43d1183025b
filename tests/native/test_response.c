/* Response headers as servers send them, and as no server should: lengths, ranges, dates, checksums, overflow, bytes
 * at random.
 */
#include "engine/internal.h"
#include "support/check.h"

#include <aws/cal/cal.h>
#include <aws/checksums/checksums.h>
#include <limits.h>

static struct cml_response response;

static void s_begin(void) {
    cml_response_reset(&response);
}

static bool s_add_bytes(const char *name, size_t name_len, const char *value, size_t value_len) {
    struct aws_http_header header = {
        .name = aws_byte_cursor_from_array(name, name_len),
        .value = aws_byte_cursor_from_array(value, value_len),
    };
    return cml_response_add(&response, &header);
}

static void s_add(const char *name, const char *value) {
    CHECK(s_add_bytes(name, strlen(name), value, strlen(value)));
}

static void s_only(const char *name, const char *value) {
    s_begin();
    s_add(name, value);
}

static void test_storage(void) {
    section("kept as name NUL value NUL, in order, whatever the size");
    s_begin();
    s_add("ETag", "\"abc\"");
    s_add("X-Empty", "");
    CHECK_EQ(response.len, 5 + 6 + 8 + 1);
    CHECK(memcmp(response.headers, "ETag\0\"abc\"\0X-Empty\0\0", response.len) == 0);
    CHECK(s_add_bytes("", 0, "x", 1)); /* nameless: dropped */
    CHECK_EQ(response.len, 20);
    CHECK(strcmp(cml_response_etag(&response), "\"abc\"") == 0);
    char value[300];
    memset(value, 'v', sizeof(value));
    for (int i = 0; i < 300; ++i) {
        CHECK(s_add_bytes("X-Many", 6, value, sizeof(value)));
    }
    CHECK(strcmp(cml_response_etag(&response), "\"abc\"") == 0); /* moved with the memory */
    s_begin();
    CHECK(cml_response_etag(&response) == NULL);
    CHECK_EQ(response.len, 0);
    CHECK_EQ(response.content_length, -1);
    CHECK_EQ(response.retry_after_s, -1);
}

static void test_overflow(void) {
    section("more headers than are kept");
    static char huge[CML_HEADER_BYTES];
    memset(huge, 'h', sizeof(huge));
    s_begin();
    CHECK(s_add_bytes("a", 1, huge, CML_HEADER_BYTES - 3));
    CHECK(!response.overflow);
    CHECK(!s_add_bytes("b", 1, "", 0));
    CHECK(response.overflow);
    CHECK(!s_add_bytes("", 0, "", 0));
    s_begin();
    CHECK(!response.overflow);
    CHECK(!s_add_bytes("a", 1, huge, CML_HEADER_BYTES - 2));
    cml_response_free(&response);
    s_begin();
    int added = 0;
    while (s_add_bytes("name", 4, "value", 5) && added < 1000000) {
        ++added;
    }
    CHECK_EQ(added, CML_HEADER_BYTES / 11);
}

static void s_check_length(const char *value, int64_t length, bool bad) {
    s_only("Content-Length", value);
    if (!CHECK_EQ(response.content_length, length) || !CHECK_EQ(response.bad_length, bad)) {
        fprintf(stderr, "  Content-Length: %s\n", value);
    }
}

static void test_lengths(void) {
    section("Content-Length: RFC 9110 8.6 and what is not");
    s_check_length("0", 0, false);
    s_check_length("00012", 12, false);
    s_check_length("9223372036854775807", INT64_MAX, false);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "1,1", "1, 1", "0x10", "1e3", "1.0", "abc", "1\t",
                                      "9223372036854775808", "9999999999999999999", "18446744073709551615",
                                      "18446744073709551616", "99999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
        s_check_length(bad[i], -1, true);
    }
    s_only("content-LENGTH", "5");
    s_add("Content-Length", "5"); /* RFC 9110 8.6: the same again may be taken as one */
    CHECK(response.content_length == 5 && !response.bad_length);
    s_add("Content-Length", "6");
    CHECK(response.bad_length);
    s_only("Content-Length", "x");
    s_add("Content-Length", "5");
    CHECK(response.bad_length); /* a good one does not make up for a bad one */
    s_only("Content-Lengths", "5");
    CHECK(response.content_length == -1 && !response.bad_length);
    s_only("Transfer-Encoding", "chunked");
    CHECK(response.chunked && response.content_length == -1);
}

static void s_check_range(const char *value, bool good, uint64_t start, uint64_t end, uint64_t total) {
    s_only("Content-Range", value);
    bool right = response.has_range == good &&
                 (!good || (response.range_start == start && response.range_end == end && response.total == total));
    if (!CHECK(right)) {
        fprintf(stderr, "  Content-Range: %s\n", value);
    }
}

static void test_ranges(void) {
    section("Content-Range: RFC 9110 14.4 and what is not");
    s_check_range("bytes 0-0/1", true, 0, 1, 1);
    s_check_range("bytes 0-99/1000", true, 0, 100, 1000);
    s_check_range("BYTES 900-999/1000", true, 900, 1000, 1000);
    s_check_range("bytes 9223372036854775806-9223372036854775806/9223372036854775807", true, 9223372036854775806u,
                  9223372036854775807u, 9223372036854775807u);
    static const char *const bad[] = {
        "", "bytes", "bytes ", "bytes */1000", "bytes 0-99/*", "bytes */*", "bytes 0-99", "bytes 0-/100",
        "bytes -99/100", "bytes 99-0/100", "bytes 0-100/100", "bytes 5-5/5", "bytes 0-0/0", "bytes -1-5/100",
        "bytes 0--5/100", "bytes 0-5/-100", "bytes 0-99/1000 ", "bytes  0-99/1000", "bytes=0-99/1000", "items 0-9/10",
        "bytes 0 - 99/1000", "bytes 0-99 / 1000", "bytes 0-99/1000/1", "bytes 0x0-0x9/100", "bytes /-", "bytes -/",
        "bytes 18446744073709551615-18446744073709551615/18446744073709551616",
        "bytes 99999999999999999999-99999999999999999999/99999999999999999999", "0-99/1000", "bytes 0/99-1000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
        s_check_range(bad[i], false, 0, 0, 0);
    }
}

static int32_t s_retry_after(const char *value, const char *date, bool date_first) {
    s_begin();
    if (date != NULL && date_first) {
        s_add("Date", date);
    }
    s_add("Retry-After", value);
    if (date != NULL && !date_first) {
        s_add("Date", date);
    }
    return response.retry_after_s;
}

static void test_retry_after(void) {
    section("Retry-After: seconds, dates before and after Date, nonsense");
    CHECK_EQ(s_retry_after("0", NULL, false), 0);
    CHECK_EQ(s_retry_after("7", NULL, false), 7);
    CHECK_EQ(s_retry_after("3600", NULL, false), 3600);
    CHECK_EQ(s_retry_after("4000000000", NULL, false), 3600);
    CHECK_EQ(s_retry_after("9999999999999999999", NULL, false), 3600);
    static const char now[] = "Fri, 31 Dec 1999 23:59:30 GMT", soon[] = "Sat, 01 Jan 2000 00:00:00 GMT",
                      never[] = "Fri, 31 Dec 2199 23:59:59 GMT";
    for (int first = 0; first < 2; ++first) {
        CHECK_EQ(s_retry_after(soon, now, first), 30);
        CHECK_EQ(s_retry_after(now, soon, first), 0); /* in the past: at once */
        CHECK_EQ(s_retry_after(never, now, first), 3600);
        CHECK_EQ(s_retry_after("5", now, first), 5);
    }
    static const char *const bad[] = {"",          "-1", "1.5", "soon", "99999999999999999999999",
                                      "5 seconds", "+5", "Sat, 99 Foo 2000 99:99:99 GMT"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
        int32_t after = s_retry_after(bad[i], now, true);
        CHECK(after == -1 || (after >= 0 && after <= 3600));
    }
    CHECK_EQ(s_retry_after("nonsense", now, true), -1);
}

static void test_date(void) {
    section("Date");
    s_only("Date", "Sat, 01 Jan 2000 00:00:00 GMT");
    CHECK_EQ(response.date_s, 946684800);
    s_only("Date", "not a date");
    CHECK_EQ(response.date_s, 0);
    s_only("Date", "");
    CHECK_EQ(response.date_s, 0);
}

static enum cml_checksum s_chosen(const char *const *pairs) {
    s_begin();
    for (; pairs[0] != NULL; pairs += 2) {
        s_add(pairs[0], pairs[1]);
    }
    return cml_response_checksum(&response);
}

static const char *s_checksum_value(void) {
    return response.checksum_text;
}

static void test_checksums(void) {
    section("checksums: the cheapest strong one, never one of parts");
    static const char *const all[] = {"Content-MD5",           "m", "x-amz-checksum-sha1",      "s",
                                      "X-Amz-Checksum-Crc32",  "c", "x-amz-checksum-crc32c",    "C",
                                      "x-amz-checksum-crc64nvme", "n", NULL};
    CHECK_EQ(s_chosen(all), CML_SUM_CRC64NVME);
    CHECK(strcmp(s_checksum_value(), "n") == 0);
    static const char *const parts[] = {"x-amz-checksum-crc32c", "AAAA-3", "x-amz-checksum-sha256", "good", NULL};
    CHECK_EQ(s_chosen(parts), CML_SUM_SHA256);
    CHECK(strcmp(s_checksum_value(), "good") == 0);
    static const char *const twice[] = {"x-amz-checksum-crc32", "first", "x-amz-checksum-crc32", "second", NULL};
    CHECK_EQ(s_chosen(twice), CML_SUM_CRC32);
    CHECK(strcmp(s_checksum_value(), "first") == 0);
    static const char *const none[] = {"x-amz-checksum-type", "COMPOSITE", "x-amz-checksum-crc", "x",
                                       "Content-MD55", "x", "x", "", NULL};
    CHECK_EQ(s_chosen(none), CML_SUM_NONE);
    CHECK_EQ(response.checksum, CML_SUM_NONE);
    static const char *const google[] = {"x-goog-hash", "md5=m==, crc32c=C==", NULL};
    CHECK_EQ(s_chosen(google), CML_SUM_CRC32C);
    CHECK(strcmp(s_checksum_value(), "C==") == 0);
    static const char *const apart[] = {"X-Goog-Hash", "crc32c=C", "x-goog-hash", "md5=m", NULL};
    CHECK_EQ(s_chosen(apart), CML_SUM_CRC32C);
    static const char *const odd[] = {"x-goog-hash", " ,,md5=,crc32c=, sha9=x", NULL};
    CHECK_EQ(s_chosen(odd), CML_SUM_NONE);
    static const char *const stored[] = {"x-goog-stored-content-encoding", "identity", "x-goog-hash", "md5=m", NULL};
    CHECK_EQ(s_chosen(stored), CML_SUM_MD5);
    static const char *const unpacked[] = {"x-goog-hash", "md5=m", "X-Goog-Stored-Content-Encoding", "gzip", NULL};
    CHECK_EQ(s_chosen(unpacked), CML_SUM_NONE);
    static const char *const packed[] = {"x-goog-stored-content-encoding", "gzip", "x-goog-hash", "md5=m",
                                         "Content-Encoding", "gzip", NULL};
    CHECK_EQ(s_chosen(packed), CML_SUM_MD5);
}

static void s_check_sum(enum cml_checksum kind, const char *text, const char *base64, bool matches) {
    struct cml_sum sum = {0};
    for (size_t cut = 0; cut <= strlen(text); cut += 3) { /* in two pieces, wherever they meet */
        cml_sum_start(&sum, kind);
        cml_sum_update(&sum, text, cut);
        cml_sum_update(&sum, text + cut, strlen(text) - cut);
        if (!CHECK_EQ(cml_sum_matches(&sum, base64), matches)) {
            fprintf(stderr, "  kind %d, %s\n", (int)kind, base64);
        }
    }
    cml_sum_stop(&sum);
    cml_sum_stop(&sum);
}

/* Values from published check vectors: "123456789" for the CRCs (RevEng's catalogue), RFC 1321, FIPS 180. */
static void test_sums(void) {
    section("checksums: known values, wrong values, what is no checksum");
    s_check_sum(CML_SUM_CRC32, "123456789", "y/Q5Jg==", true);
    s_check_sum(CML_SUM_CRC32C, "123456789", "4waSgw==", true);
    s_check_sum(CML_SUM_CRC64NVME, "123456789", "rosUhgp5mIg=", true);
    s_check_sum(CML_SUM_MD5, "abc", "kAFQmDzST7DWlj99KOF/cg==", true);
    s_check_sum(CML_SUM_SHA1, "abc", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", true);
    s_check_sum(CML_SUM_SHA256, "abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", true);
    s_check_sum(CML_SUM_CRC32, "123456780", "y/Q5Jg==", false);
    s_check_sum(CML_SUM_CRC64NVME, "123456789", "rosUhgp5mkg=", false);
    s_check_sum(CML_SUM_MD5, "abd", "kAFQmDzST7DWlj99KOF/cg==", false);
    s_check_sum(CML_SUM_MD5, "abc", "y/Q5Jg==", false); /* of another kind */
    s_check_sum(CML_SUM_CRC32, "abc", "not base64!", true); /* nothing to hold the body against */
    char longer[400];
    memset(longer, 'A', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    s_check_sum(CML_SUM_SHA256, "abc", longer, true);
}

static void test_etags(void) {
    section("ETags: which may go into If-Match");
    CHECK(cml_etag_is_strong("\"abc\""));
    CHECK(cml_etag_is_strong("\"\""));
    CHECK(!cml_etag_is_strong("W/\"abc\""));
    CHECK(!cml_etag_is_strong(""));
    CHECK(!cml_etag_is_strong(NULL));
}

/* Names the parser knows, values at random: the sanitizers watch, and what comes out has to make sense. */
static void test_hostile_bytes(void) {
    section("bytes at random in names and values");
    static const char *const names[] = {"content-length", "content-range", "retry-after", "date", "etag", "x",
                                        "content-md5", "x-amz-checksum-crc32c", "transfer-encoding", "\377"};
    static const char alphabet[] = "bytes 0123456789-/*,;:GMT\0\r\n\t\377\200JanSat";
    uint64_t seed = 0xfeedface;
    for (int i = 0; i < 200000; ++i) {
        size_t length = check_random(&seed) % 40;
        char *value = malloc(length + 1); /* of just that size */
        for (size_t at = 0; at < length; ++at) {
            value[at] = alphabet[check_random(&seed) % sizeof(alphabet)];
        }
        const char *name = names[check_random(&seed) % 10];
        if (check_random(&seed) % 4 == 0 || response.len > 10000) {
            s_begin();
        }
        CHECK(s_add_bytes(name, strlen(name), value, length));
        CHECK(response.content_length >= -1 && response.retry_after_s >= -1 && response.retry_after_s <= 3600);
        CHECK(!response.has_range || response.range_start < response.range_end);
        CHECK(!response.has_range || response.range_end <= response.total);
        free(value);
    }
}

int main(void) {
    aws_cal_library_init(aws_default_allocator());
    aws_checksums_library_init(aws_default_allocator());
    test_storage();
    test_overflow();
    test_lengths();
    test_ranges();
    test_retry_after();
    test_date();
    test_checksums();
    test_sums();
    test_etags();
    test_hostile_bytes();
    cml_response_free(&response);
    return check_report();
}
