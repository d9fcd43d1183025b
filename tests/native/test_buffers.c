/* The buffer pool: what is rounded to what, what is reused and when it goes back to the system, what is accounted. */
#include "engine/buffers.h"
#include "support/check.h"

#include <pthread.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static struct cml_pool_stats s_stats(void) {
    struct cml_pool_stats stats;
    cml_pool_stats(&stats);
    return stats;
}

static void s_check_all_back(void) {
    CHECK_EQ(s_stats().in_use_bytes, 0);
    CHECK_EQ(cml_live_get(CML_LIVE_BUFFERS), 0);
    cml_pool_trim(0);
    CHECK_EQ(s_stats().idle_bytes, 0);
    CHECK(!cml_pool_has_idle());
}

static void s_check_one_size(size_t length) {
    struct cml_buffer *buffer = cml_buffer_new(length);
    if (!CHECK(buffer != NULL)) {
        return;
    }
    CHECK_EQ(buffer->length, length);
    CHECK(buffer->capacity >= length && buffer->capacity > 0);
    /* At most a quarter more, and a huge page: what is accounted is near what was asked for. */
    CHECK(length < 128 * KIB ? buffer->capacity <= length + 1 : buffer->capacity <= length + length / 4 + 2 * MIB);
    CHECK_EQ(s_stats().in_use_bytes, buffer->capacity);
    if (buffer->capacity >= 2 * MIB) {
        CHECK_EQ((uintptr_t)buffer->data % (2 * MIB), 0);
        CHECK_EQ(buffer->capacity % (2 * MIB), 0);
    }
    buffer->data[0] = 1;
    buffer->data[buffer->capacity - 1] = 2; /* the sanitizer or the kernel objects if it is not ours */
    cml_buffer_release(buffer);
}

static void test_sizes(void) {
    section("size classes, alignment, accounting by capacity");
    for (size_t power = 1; power <= 64 * MIB; power *= 2) {
        s_check_one_size(power - 1);
        s_check_one_size(power);
        s_check_one_size(power + 1);
        s_check_one_size(power + power / 3);
        cml_pool_trim(0);
    }
    s_check_all_back();
}

static void test_reuse(void) {
    section("reuse: the same mapping for a size of the same class, none for others");
    struct cml_buffer *first = cml_buffer_new(3 * MIB);
    uint8_t *data = first->data;
    size_t capacity = first->capacity;
    memset(data, 0x55, capacity);
    cml_buffer_release(first);
    CHECK_EQ(s_stats().idle_bytes, capacity);
    struct cml_buffer *other = cml_buffer_new(300 * KIB);
    CHECK(other->data != data);
    struct cml_buffer *again = cml_buffer_new(3 * MIB + 5);
    CHECK_EQ(again->capacity, capacity);
    CHECK(again->data == data);
    CHECK_EQ(again->length, 3 * MIB + 5);
    CHECK_EQ(s_stats().idle_bytes, 0);
    CHECK_EQ(s_stats().in_use_bytes, capacity + other->capacity);
    cml_buffer_release(other);
    cml_buffer_release(again);
    struct cml_buffer *small = cml_buffer_new(100 * KIB);
    cml_buffer_release(small);
    CHECK_EQ(s_stats().idle_bytes, capacity + 320 * KIB); /* small ones are not kept */
    s_check_all_back();
}

static void test_trim(void) {
    section("trim: by age");
    cml_buffer_release(cml_buffer_new(256 * KIB));
    check_sleep_ms(60);
    struct cml_buffer *young = cml_buffer_new(512 * KIB);
    cml_buffer_release(young);
    cml_pool_trim(1000000000ull);
    CHECK_EQ(s_stats().idle_bytes, 768 * KIB);
    cml_pool_trim(30000000ull);
    CHECK_EQ(s_stats().idle_bytes, 512 * KIB);
    CHECK(cml_pool_has_idle());
    s_check_all_back();
}

static void test_limit(void) {
    section("limit: what is asked for is given; nothing above it is kept or read ahead");
    uint64_t before = s_stats().limit_bytes;
    cml_pool_set_limit(MIB);
    CHECK_EQ(s_stats().limit_bytes, MIB);
    struct cml_buffer *large = cml_buffer_new(8 * MIB);
    CHECK(large != NULL);
    CHECK(!cml_pool_has_room(0) && !cml_pool_has_room(1));
    cml_buffer_release(large);
    CHECK_EQ(s_stats().idle_bytes, 0);
    CHECK(cml_pool_has_room(MIB) && !cml_pool_has_room(MIB + 1));
    CHECK(!cml_pool_has_room(SIZE_MAX));
    struct cml_buffer *half[3];
    for (int i = 0; i < 3; ++i) {
        half[i] = cml_buffer_new(512 * KIB);
        CHECK(!cml_pool_has_room(SIZE_MAX)); /* the sum must not wrap */
    }
    for (int i = 0; i < 3; ++i) {
        cml_buffer_release(half[i]);
    }
    CHECK_EQ(s_stats().idle_bytes, MIB);
    cml_pool_set_limit(before);
    s_check_all_back();
}

static void test_huge(void) {
    section("sizes that no machine has fail cleanly");
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 4,
                                   (size_t)1 << 60, (size_t)1 << 50, ((size_t)1 << 50) + 12345};
    cml_buffer_release(cml_buffer_new(MIB));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        CHECK(cml_buffer_new(sizes[i]) == NULL);
        CHECK_EQ(s_stats().in_use_bytes, 0);
    }
    struct cml_buffer *nothing = cml_buffer_new(0);
    CHECK(nothing != NULL && nothing->length == 0 && nothing->data != NULL);
    cml_buffer_release(nothing);
    cml_buffer_release(NULL);
    s_check_all_back();
}

static void test_references(void) {
    section("references");
    struct cml_buffer *buffer = cml_buffer_new(MIB);
    cml_buffer_acquire(buffer);
    cml_buffer_release(buffer);
    CHECK_EQ(cml_live_get(CML_LIVE_BUFFERS), 1);
    buffer->data[MIB - 1] = 7;
    cml_buffer_release(buffer);
    s_check_all_back();
}

/* Each thread fills what it gets with its own mark: a buffer in two hands shows. */
static void *s_churn(void *arg) {
    uint64_t seed = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15ull + 1;
    uint8_t mark = (uint8_t)(uintptr_t)arg;
    struct cml_buffer *held[4] = {0};
    for (int i = 0; i < 3000; ++i) {
        int at = (int)(check_random(&seed) % 4);
        if (held[at] != NULL) {
            CHECK_EQ(held[at]->data[0], mark);
            CHECK_EQ(held[at]->data[held[at]->capacity - 1], mark);
            cml_buffer_release(held[at]);
        }
        held[at] = cml_buffer_new((size_t)1 << (10 + check_random(&seed) % 12));
        held[at]->data[0] = held[at]->data[held[at]->capacity - 1] = mark;
        if (check_random(&seed) % 64 == 0) {
            cml_pool_trim(check_random(&seed) % 2 ? 0 : 1000000);
        }
    }
    for (int at = 0; at < 4; ++at) {
        cml_buffer_release(held[at]);
    }
    return NULL;
}

static void test_concurrent(void) {
    section("six threads acquire, release and trim");
    pthread_t threads[6];
    for (uintptr_t i = 0; i < 6; ++i) {
        pthread_create(&threads[i], NULL, s_churn, (void *)(i + 1));
    }
    for (int i = 0; i < 6; ++i) {
        pthread_join(threads[i], NULL);
    }
    s_check_all_back();
}

int main(void) {
    test_sizes();
    test_reuse();
    test_trim();
    test_limit();
    test_huge();
    test_references();
    test_concurrent();
    return check_report();
}
