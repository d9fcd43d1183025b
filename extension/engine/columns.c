#include "columns.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cml.h"

enum { PATH, MODIFIED, SIZE, E_TAG, VERSION, FIELDS };
enum { ALIGNMENT = 64, FIRST_ROWS = 64, FIRST_BYTES = 4096 };

/* A buffer that grows. */
struct block {
    void *data;
    size_t capacity;
};

struct strings {
    struct block offsets, data, valid; /* int32_t, char, one bit a row */
    int64_t nulls;
};

struct cml_columns {
    atomic_int references;
    int64_t rows;
    bool odd; /* some text is not UTF-8 */
    struct block modified, size;
    struct strings path, e_tag, version;
};

/* ---- building ---- */

static bool s_reserve(struct block *block, size_t size, size_t first) {
    if (size <= block->capacity) {
        return true;
    }
    size_t capacity = block->capacity > 0 ? 2 * block->capacity : first;
    capacity = capacity < size ? size : capacity;
    void *larger = NULL;
    if (posix_memalign(&larger, ALIGNMENT, capacity) != 0) {
        return false;
    }
    if (block->data != NULL) {
        memcpy(larger, block->data, block->capacity);
    }
    memset((char *)larger + block->capacity, 0, capacity - block->capacity);
    free(block->data);
    *block = (struct block){larger, capacity};
    return true;
}

static bool s_reserve_strings(struct strings *strings, size_t rows, size_t bytes) {
    return s_reserve(&strings->offsets, (rows + 1) * sizeof(int32_t), (FIRST_ROWS + 1) * sizeof(int32_t)) &&
           s_reserve(&strings->valid, (rows + 7) / 8, FIRST_ROWS / 8) && s_reserve(&strings->data, bytes, FIRST_BYTES);
}

struct cml_columns *cml_columns_new(void) {
    struct cml_columns *columns = calloc(1, sizeof(*columns));
    if (columns == NULL) {
        return NULL;
    }
    atomic_init(&columns->references, 1);
    cml_live_add(CML_LIVE_COLUMNS, 1);
    bool whole = s_reserve(&columns->modified, 1, FIRST_ROWS * sizeof(int64_t)) &&
                 s_reserve(&columns->size, 1, FIRST_ROWS * sizeof(uint64_t)) &&
                 s_reserve_strings(&columns->path, 1, 1) && s_reserve_strings(&columns->e_tag, 1, 1) &&
                 s_reserve_strings(&columns->version, 1, 1);
    if (!whole) {
        cml_columns_release(columns);
        return NULL;
    }
    return columns;
}

struct cml_columns *cml_columns_acquire(struct cml_columns *columns) {
    atomic_fetch_add_explicit(&columns->references, 1, memory_order_relaxed);
    return columns;
}

static void s_free_strings(struct strings *strings) {
    free(strings->offsets.data);
    free(strings->data.data);
    free(strings->valid.data);
}

void cml_columns_release(struct cml_columns *columns) {
    if (atomic_fetch_sub_explicit(&columns->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    free(columns->modified.data);
    free(columns->size.data);
    s_free_strings(&columns->path);
    s_free_strings(&columns->e_tag);
    s_free_strings(&columns->version);
    free(columns);
    cml_live_add(CML_LIVE_COLUMNS, -1);
}

int64_t cml_columns_rows(const struct cml_columns *columns) {
    return columns->rows;
}

static int32_t *s_offsets(const struct strings *strings) {
    return strings->offsets.data;
}

/* For more rows behind `rows`, whose text has `length` bytes together. */
static enum cml_columns_result s_make_room(struct strings *strings, int64_t rows, int64_t more, size_t length) {
    size_t used = (size_t)s_offsets(strings)[rows];
    if (length > INT32_MAX - used) {
        return CML_COLUMNS_TOO_LARGE;
    }
    return s_reserve_strings(strings, (size_t)(rows + more), used + length) ? CML_COLUMNS_OK : CML_COLUMNS_NO_MEMORY;
}

static void s_append(struct strings *strings, int64_t row, struct cml_text text) {
    int32_t *offsets = s_offsets(strings);
    uint8_t *valid = (uint8_t *)strings->valid.data + row / 8;
    if (text.data == NULL) {
        *valid &= (uint8_t)~(1u << (row % 8));
        strings->nulls += 1;
    } else {
        *valid |= (uint8_t)(1u << (row % 8));
        memcpy((char *)strings->data.data + offsets[row], text.data, text.length);
    }
    offsets[row + 1] = offsets[row] + (int32_t)(text.data != NULL ? text.length : 0);
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool s_is_utf8(struct cml_text text) {
    const uint8_t *at = (const uint8_t *)text.data, *end = text.length > 0 ? at + text.length : at;
    while (at < end) {
        uint64_t eight;
        if (end - at >= 8 && (memcpy(&eight, at, 8), (eight & 0x8080808080808080u) == 0)) {
            at += 8;
            continue;
        }
        uint8_t lead = *at++;
        if (lead < 0x80) {
            continue;
        }
        unsigned following = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || end - at < (ptrdiff_t)following) {
            return false;
        }
        uint8_t lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (*at < lowest || *at > highest) {
            return false;
        }
        for (++at; --following > 0; ++at) {
            if (*at < 0x80 || *at > 0xbf) {
                return false;
            }
        }
    }
    return true;
}

static bool s_is_odd(const struct cml_row *row) {
    return !s_is_utf8(row->path) || !s_is_utf8(row->e_tag) || !s_is_utf8(row->version);
}

enum cml_columns_result cml_columns_reserve(struct cml_columns *columns, int64_t rows,
                                            const struct cml_text_bytes *bytes) {
    size_t numbers = (size_t)(columns->rows + rows) * sizeof(int64_t);
    enum cml_columns_result result = s_make_room(&columns->path, columns->rows, rows, bytes->path);
    if (result == CML_COLUMNS_OK) {
        result = s_make_room(&columns->e_tag, columns->rows, rows, bytes->e_tag);
    }
    if (result == CML_COLUMNS_OK) {
        result = s_make_room(&columns->version, columns->rows, rows, bytes->version);
    }
    bool whole = s_reserve(&columns->modified, numbers, numbers) && s_reserve(&columns->size, numbers, numbers);
    return whole ? result : CML_COLUMNS_NO_MEMORY;
}

enum cml_columns_result cml_columns_add(struct cml_columns *columns, const struct cml_row *row) {
    int64_t rows = columns->rows;
    struct cml_text_bytes text = {row->path.length, row->e_tag.length, row->version.length};
    enum cml_columns_result result = cml_columns_reserve(columns, 1, &text);
    if (result != CML_COLUMNS_OK) {
        return result;
    }
    s_append(&columns->path, rows, row->path);
    s_append(&columns->e_tag, rows, row->e_tag);
    s_append(&columns->version, rows, row->version);
    ((int64_t *)columns->modified.data)[rows] = row->modified_us;
    ((uint64_t *)columns->size.data)[rows] = row->size;
    columns->odd = columns->odd || s_is_odd(row);
    columns->rows = rows + 1;
    return CML_COLUMNS_OK;
}

static size_t s_bytes(const struct strings *strings, int64_t start, int64_t stop) {
    return (size_t)(s_offsets(strings)[stop] - s_offsets(strings)[start]);
}

void cml_columns_count(const struct cml_columns *columns, int64_t start, int64_t stop, struct cml_text_bytes *bytes) {
    bytes->path += s_bytes(&columns->path, start, stop);
    bytes->e_tag += s_bytes(&columns->e_tag, start, stop);
    bytes->version += s_bytes(&columns->version, start, stop);
}

static void s_extend(struct strings *into, int64_t row, const struct strings *from, int64_t start, int64_t stop) {
    int32_t *offsets = s_offsets(into);
    const int32_t *theirs = s_offsets(from);
    memcpy((char *)into->data.data + offsets[row], (const char *)from->data.data + theirs[start],
           s_bytes(from, start, stop));
    for (int64_t i = start; i < stop; ++i, ++row) {
        unsigned bit = (((const uint8_t *)from->valid.data)[i / 8] >> (i % 8)) & 1u;
        uint8_t *valid = (uint8_t *)into->valid.data + row / 8;
        *valid = (uint8_t)((*valid & ~(1u << (row % 8))) | bit << (row % 8));
        into->nulls += !bit;
        offsets[row + 1] = offsets[row] + theirs[i + 1] - theirs[i];
    }
}

enum cml_columns_result cml_columns_extend(struct cml_columns *columns, const struct cml_columns *from, int64_t start,
                                           int64_t stop) {
    int64_t rows = columns->rows;
    size_t bytes = (size_t)(stop - start) * sizeof(int64_t);
    struct cml_text_bytes text = {0};
    cml_columns_count(from, start, stop, &text);
    enum cml_columns_result result = cml_columns_reserve(columns, stop - start, &text);
    if (result != CML_COLUMNS_OK) {
        return result;
    }
    s_extend(&columns->path, rows, &from->path, start, stop);
    s_extend(&columns->e_tag, rows, &from->e_tag, start, stop);
    s_extend(&columns->version, rows, &from->version, start, stop);
    memcpy((int64_t *)columns->modified.data + rows, (const int64_t *)from->modified.data + start, bytes);
    memcpy((uint64_t *)columns->size.data + rows, (const uint64_t *)from->size.data + start, bytes);
    columns->odd = columns->odd || from->odd;
    columns->rows = rows + stop - start;
    return CML_COLUMNS_OK;
}

/* ---- reading ---- */

static bool s_is_valid(const struct strings *strings, int64_t row) {
    return (((const uint8_t *)strings->valid.data)[row / 8] >> (row % 8)) & 1;
}

static struct cml_text s_text(const struct strings *strings, int64_t row) {
    const int32_t *offsets = s_offsets(strings);
    const char *data = s_is_valid(strings, row) ? (const char *)strings->data.data + offsets[row] : NULL;
    return (struct cml_text){data, (size_t)(offsets[row + 1] - offsets[row])};
}

void cml_columns_row(const struct cml_columns *columns, int64_t index, struct cml_row *row) {
    *row = (struct cml_row){
        .path = s_text(&columns->path, index),
        .e_tag = s_text(&columns->e_tag, index),
        .version = s_text(&columns->version, index),
        .modified_us = ((const int64_t *)columns->modified.data)[index],
        .size = ((const uint64_t *)columns->size.data)[index],
    };
}

int64_t cml_columns_odd_row(const struct cml_columns *columns, int64_t start, int64_t stop) {
    struct cml_row row;
    for (int64_t i = columns->odd ? start : stop; i < stop; ++i) {
        cml_columns_row(columns, i, &row);
        if (s_is_odd(&row)) {
            return i;
        }
    }
    return stop;
}

/* ---- the schema: nothing but constants, but for the structs that a consumer may move ---- */

static const struct {
    const char *name, *format;
    int64_t flags;
} s_fields[FIELDS] = {
    [PATH] = {"path", "u", 0},
    [MODIFIED] = {"last_modified", "tsu:UTC", 0},
    [SIZE] = {"size", "L", 0},
    [E_TAG] = {"e_tag", "u", ARROW_FLAG_NULLABLE},
    [VERSION] = {"version", "u", ARROW_FLAG_NULLABLE},
};

static void s_release_field(struct ArrowSchema *schema) {
    schema->release = NULL;
}

struct schema {
    struct ArrowSchema *children[FIELDS];
    struct ArrowSchema fields[FIELDS];
};

static void s_release_schema(struct ArrowSchema *schema) {
    for (int i = 0; i < FIELDS; ++i) {
        if (schema->children[i]->release != NULL) {
            schema->children[i]->release(schema->children[i]);
        }
    }
    free(schema->private_data);
    schema->release = NULL;
}

bool cml_columns_schema(struct ArrowSchema *out) {
    struct schema *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return false;
    }
    for (int i = 0; i < FIELDS; ++i) {
        made->children[i] = &made->fields[i];
        made->fields[i] = (struct ArrowSchema){
            .format = s_fields[i].format,
            .name = s_fields[i].name,
            .flags = s_fields[i].flags,
            .release = s_release_field,
        };
    }
    *out = (struct ArrowSchema){
        .format = "+s",
        .name = "",
        .n_children = FIELDS,
        .children = made->children,
        .release = s_release_schema,
        .private_data = made,
    };
    return true;
}

/* ---- arrays: a consumer may move a child out of its parent and keep it for longer ---- */

struct child {
    struct cml_columns *columns; /* a reference; given back in s_release_child */
    const void *buffers[3];
};

struct parent {
    const void *buffers[1];
    struct ArrowArray *children[FIELDS];
    struct ArrowArray fields[FIELDS];
};

static void s_release_child(struct ArrowArray *array) {
    struct child *child = array->private_data;
    array->release = NULL;
    cml_columns_release(child->columns);
    free(child);
    cml_live_add(CML_LIVE_ARRAYS, -1);
}

static void s_release_parent(struct ArrowArray *array) {
    struct parent *parent = array->private_data;
    array->release = NULL;
    for (int i = 0; i < FIELDS; ++i) {
        if (parent->fields[i].release != NULL) {
            parent->fields[i].release(&parent->fields[i]);
        }
    }
    free(parent);
    cml_live_add(CML_LIVE_ARRAYS, -1);
}

static int64_t s_nulls(const struct strings *strings, int64_t start, int64_t stop) {
    int64_t nulls = 0;
    for (int64_t i = strings->nulls > 0 ? start : stop; i < stop; ++i) {
        nulls += !s_is_valid(strings, i);
    }
    return nulls;
}

static bool s_export_child(struct cml_columns *columns, int64_t start, int64_t stop, struct ArrowArray *out) {
    struct child *child = calloc(1, sizeof(*child));
    if (child == NULL) {
        return false;
    }
    child->columns = cml_columns_acquire(columns);
    cml_live_add(CML_LIVE_ARRAYS, 1);
    *out = (struct ArrowArray){
        .length = stop - start,
        .offset = start,
        .n_buffers = 2,
        .buffers = child->buffers,
        .release = s_release_child,
        .private_data = child,
    };
    return true;
}

static void s_set_strings(struct ArrowArray *out, const struct strings *strings) {
    out->null_count = s_nulls(strings, out->offset, out->offset + out->length);
    out->n_buffers = 3;
    out->buffers[0] = out->null_count > 0 ? strings->valid.data : NULL;
    out->buffers[1] = strings->offsets.data;
    out->buffers[2] = strings->data.data;
}

bool cml_columns_export(struct cml_columns *columns, int64_t start, int64_t stop, struct ArrowArray *out) {
    struct parent *parent = calloc(1, sizeof(*parent));
    if (parent == NULL) {
        return false;
    }
    cml_live_add(CML_LIVE_ARRAYS, 1);
    *out = (struct ArrowArray){
        .length = stop - start,
        .n_buffers = 1,
        .n_children = FIELDS,
        .buffers = parent->buffers,
        .children = parent->children,
        .release = s_release_parent,
        .private_data = parent,
    };
    for (int i = 0; i < FIELDS; ++i) {
        parent->children[i] = &parent->fields[i];
        if (!s_export_child(columns, start, stop, &parent->fields[i])) {
            s_release_parent(out);
            return false;
        }
    }
    s_set_strings(&parent->fields[PATH], &columns->path);
    s_set_strings(&parent->fields[E_TAG], &columns->e_tag);
    s_set_strings(&parent->fields[VERSION], &columns->version);
    parent->fields[MODIFIED].buffers[1] = columns->modified.data;
    parent->fields[SIZE].buffers[1] = columns->size.data;
    return true;
}
