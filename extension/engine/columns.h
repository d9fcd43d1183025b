/* A listing as Arrow columns, filled row by row and handed out through the Arrow C data interface
 * (https://arrow.apache.org/docs/format/CDataInterface.html) without a copy.
 *
 * One thread builds a block of columns; once it has been exported it does not change any more, and any thread may read it
 * or let it go. A block is counted: its maker has one reference, each column that has been exported another, given back by
 * the release callback of that column, wherever and whenever its consumer calls it. Neither needs Python.
 *
 * The schema: path utf8, last_modified timestamp[us, UTC], size uint64, and, nullable, e_tag utf8 and version utf8.
 */
#ifndef CML_COLUMNS_H
#define CML_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_NULLABLE 2

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif

struct cml_text {
    const char *data; /* NULL: there is none */
    size_t length;
};

struct cml_row {
    struct cml_text path, e_tag, version;
    int64_t modified_us; /* since 1970, UTC */
    uint64_t size;
};

struct cml_text_bytes {
    size_t path, e_tag, version;
};

enum cml_columns_result {
    CML_COLUMNS_OK,
    CML_COLUMNS_NO_MEMORY,
    CML_COLUMNS_TOO_LARGE, /* a column's text would be longer than the 2 GiB that 32-bit offsets reach */
};

struct cml_columns;

struct cml_columns *cml_columns_new(void); /* empty, with one reference; NULL: no memory */
struct cml_columns *cml_columns_acquire(struct cml_columns *columns);
void cml_columns_release(struct cml_columns *columns);
int64_t cml_columns_rows(const struct cml_columns *columns);
void cml_columns_row(const struct cml_columns *columns, int64_t index, struct cml_row *row); /* valid as long as it is */

/* Text is copied. After anything but OK there are the rows that were there before. */
enum cml_columns_result cml_columns_add(struct cml_columns *columns, const struct cml_row *row);
/* Room for this much more, so that adding it moves nothing. */
enum cml_columns_result cml_columns_reserve(struct cml_columns *columns, int64_t rows, const struct cml_text_bytes *bytes);
/* The bytes of some rows' text are added to what is in `bytes`. */
void cml_columns_count(const struct cml_columns *columns, int64_t start, int64_t stop, struct cml_text_bytes *bytes);
/* All of the rows or none. */
enum cml_columns_result cml_columns_extend(struct cml_columns *columns, const struct cml_columns *from, int64_t start,
                                           int64_t stop);

/* The first of the rows from `start` on, and before `stop`, that has bytes which are not UTF-8; `stop`: none. Arrow's
 * strings have to be: such rows must not be exported. */
int64_t cml_columns_odd_row(const struct cml_columns *columns, int64_t start, int64_t stop);

/* Both fill a struct of the consumer's, who releases it; false: no memory, and nothing to release. */
bool cml_columns_schema(struct ArrowSchema *out);
bool cml_columns_export(struct cml_columns *columns, int64_t start, int64_t stop, struct ArrowArray *out);

#endif
