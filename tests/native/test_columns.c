/* Listings as Arrow columns: what is put in comes out, exports share it, and everything is released exactly once, in
 * whatever order consumers do so. The sanitizer sees the rest.
 */
#include "engine/columns.h"

#include <pthread.h>

#include "engine/cml.h"
#include "support/check.h"

enum { ROWS = 500, SCHEMA_FIELDS = 5 };

static struct cml_text s_text_of(const char *text) {
    return (struct cml_text){text, text != NULL ? strlen(text) : 0};
}

static struct cml_columns *s_filled(int rows) {
    struct cml_columns *columns = cml_columns_new();
    for (int i = 0; i < rows; ++i) {
        char path[64];
        snprintf(path, sizeof(path), "path/%d", i);
        struct cml_row row = {s_text_of(path), s_text_of(i % 3 ? "\"e\"" : NULL), s_text_of(NULL), i * 1000L, (uint64_t)i};
        CHECK_EQ(cml_columns_add(columns, &row), CML_COLUMNS_OK);
    }
    return columns;
}

static void s_check_column(const struct ArrowArray *array, int start, int stop) {
    const struct ArrowArray *path = array->children[0], *size = array->children[2], *e_tag = array->children[3];
    CHECK_EQ(array->n_children, SCHEMA_FIELDS);
    CHECK_EQ(array->length, stop - start);
    const int32_t *offsets = (const int32_t *)path->buffers[1] + path->offset;
    int64_t nulls = 0;
    for (int i = start; i < stop; ++i) {
        char expected[64];
        snprintf(expected, sizeof(expected), "path/%d", i);
        int32_t from = offsets[i - start], to = offsets[i - start + 1];
        CHECK_EQ(to - from, strlen(expected));
        CHECK(memcmp((const char *)path->buffers[2] + from, expected, strlen(expected)) == 0);
        CHECK_EQ(((const uint64_t *)size->buffers[1])[size->offset + i - start], i);
        nulls += i % 3 == 0;
    }
    CHECK_EQ(path->null_count, 0);
    CHECK(path->buffers[0] == NULL);
    CHECK_EQ(e_tag->null_count, nulls);
    CHECK_EQ(array->children[4]->null_count, stop - start);
}

static void s_test_exports_share_and_outlive(void) {
    section("exports share their columns and outlive them");
    struct cml_columns *columns = s_filled(ROWS);
    struct ArrowArray whole, part, empty;
    CHECK(cml_columns_export(columns, 0, ROWS, &whole));
    CHECK(cml_columns_export(columns, 100, 207, &part));
    CHECK(cml_columns_export(columns, 3, 3, &empty));
    CHECK(whole.children[0]->buffers[2] == part.children[0]->buffers[2]);
    cml_columns_release(columns);
    CHECK_EQ(cml_live_get(CML_LIVE_COLUMNS), 1);
    s_check_column(&part, 100, 207);
    part.release(&part);
    CHECK(part.release == NULL);
    s_check_column(&whole, 0, ROWS);
    s_check_column(&empty, 3, 3);
    whole.release(&whole);
    empty.release(&empty);
    CHECK_EQ(cml_live_get(CML_LIVE_COLUMNS), 0);
    CHECK_EQ(cml_live_get(CML_LIVE_ARRAYS), 0);
}

static void s_test_moved_children(void) {
    section("a child that was moved out is released on its own");
    for (int moved = 0; moved < SCHEMA_FIELDS; ++moved) {
        struct cml_columns *columns = s_filled(10);
        struct ArrowArray array, child;
        CHECK(cml_columns_export(columns, 0, 10, &array));
        cml_columns_release(columns);
        child = *array.children[moved];
        array.children[moved]->release = NULL;
        array.release(&array);
        CHECK_EQ(cml_live_get(CML_LIVE_ARRAYS), 1);
        CHECK_EQ(child.length, 10);
        child.release(&child);
        CHECK_EQ(cml_live_get(CML_LIVE_COLUMNS), 0);
    }
}

static void s_test_schema(void) {
    section("the schema");
    static const char *const names[] = {"path", "last_modified", "size", "e_tag", "version"};
    struct ArrowSchema schema;
    CHECK(cml_columns_schema(&schema));
    CHECK(strcmp(schema.format, "+s") == 0);
    for (int i = 0; i < SCHEMA_FIELDS; ++i) {
        CHECK(strcmp(schema.children[i]->name, names[i]) == 0);
    }
    struct ArrowSchema child = *schema.children[1];
    schema.children[1]->release = NULL;
    schema.release(&schema);
    CHECK(schema.release == NULL);
    CHECK(strcmp(child.format, "tsu:UTC") == 0);
    child.release(&child);
}

static void s_test_extend(void) {
    section("rows of one in another");
    struct cml_columns *from = s_filled(ROWS), *into = s_filled(100);
    CHECK_EQ(cml_columns_extend(into, from, 100, 317), CML_COLUMNS_OK);
    CHECK_EQ(cml_columns_extend(into, from, 317, 317), CML_COLUMNS_OK);
    CHECK_EQ(cml_columns_extend(into, from, 317, ROWS), CML_COLUMNS_OK);
    cml_columns_release(from);
    CHECK_EQ(cml_columns_rows(into), ROWS);
    struct ArrowArray array;
    CHECK(cml_columns_export(into, 0, ROWS, &array));
    s_check_column(&array, 0, ROWS);
    array.release(&array);
    cml_columns_release(into);
}

static void s_test_odd_text(void) {
    section("text that is not UTF-8");
    static const struct {
        const char *text;
        bool odd;
    } cases[] = {
        {"", false}, {"plain ASCII, of more than eight bytes", false}, {"\xc3\xa9", false}, {"\xed\x9f\xbf", false},
        {"\xf0\x9d\x84\x9e", false}, {"\xf4\x8f\xbf\xbf", false}, {"\xef\xbf\xbf", false}, {"eight ab\xc3\xa9", false},
        {"\x80", true}, {"\xc3", true}, {"\xc3(", true}, {"\xc0\x80", true}, {"\xc1\xbf", true}, {"\xe0\x9f\xbf", true},
        {"\xed\xa0\x80", true}, {"\xf0\x8f\xbf\xbf", true}, {"\xf4\x90\x80\x80", true}, {"\xf5\x80\x80\x80", true},
        {"\xe2\x82", true}, {"\xf0\x9d\x84", true}, {"\xff", true}, {"eight ab\xff", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        struct cml_columns *columns = s_filled(3);
        size_t length = strlen(cases[i].text);
        char *exact = malloc(length + 1);
        memcpy(exact, cases[i].text, length);
        struct cml_row row = {.path = {exact, length}};
        check_detail = cases[i].text;
        CHECK_EQ(cml_columns_add(columns, &row), CML_COLUMNS_OK);
        CHECK_EQ(cml_columns_odd_row(columns, 0, 4), cases[i].odd ? 3 : 4);
        CHECK_EQ(cml_columns_odd_row(columns, 0, 3), 3);
        free(exact);
        cml_columns_release(columns);
    }
    check_detail = "";
}

static void s_test_too_large(void) {
    section("more than 2 GiB");
    struct cml_columns *columns = s_filled(1);
    struct cml_row row = {.path = {"x", (size_t)INT32_MAX}};
    CHECK_EQ(cml_columns_add(columns, &row), CML_COLUMNS_TOO_LARGE);
    row.path.length = SIZE_MAX;
    CHECK_EQ(cml_columns_add(columns, &row), CML_COLUMNS_TOO_LARGE);
    CHECK_EQ(cml_columns_rows(columns), 1);
    cml_columns_release(columns);
}

static void *s_export_and_release(void *argument) {
    struct cml_columns *columns = argument;
    for (int i = 0; i < 200; ++i) {
        struct ArrowArray array;
        CHECK(cml_columns_export(columns, i, i + 50, &array));
        s_check_column(&array, i, i + 50);
        array.release(&array);
    }
    cml_columns_release(columns);
    return NULL;
}

static void s_test_threads(void) {
    section("several threads export and release");
    struct cml_columns *columns = s_filled(ROWS);
    pthread_t threads[4];
    for (int i = 0; i < 4; ++i) {
        pthread_create(&threads[i], NULL, s_export_and_release, cml_columns_acquire(columns));
    }
    cml_columns_release(columns);
    for (int i = 0; i < 4; ++i) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQ(cml_live_get(CML_LIVE_COLUMNS), 0);
    CHECK_EQ(cml_live_get(CML_LIVE_ARRAYS), 0);
}

int main(void) {
    s_test_exports_share_and_outlive();
    s_test_moved_children();
    s_test_schema();
    s_test_extend();
    s_test_odd_text();
    s_test_too_large();
    s_test_threads();
    CHECK_EQ(cml_live_get(CML_LIVE_COLUMNS), 0);
    return check_report();
}
