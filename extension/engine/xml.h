/* A pull scanner for the XML that object stores answer with: one contiguous buffer in, one token a call out.
 *
 * It allocates nothing, copies nothing and does not recurse; all its state is the struct, so a copy of the struct is a
 * second scanner at the same place. Any thread may run one; the buffer must outlive it and must not change.
 *
 * Strict: every tag is closed in order, nothing but white space, comments and processing instructions stands outside
 * the root element, references are the five named ones or numbers of Unicode characters. A document type declaration
 * is refused, so there are no entities to expand. Attributes are checked and skipped, namespace prefixes are dropped.
 *
 * Looser than XML 1.0 where object keys need it: text may hold any byte but NUL and any character by reference but
 * U+0000, bytes that are not UTF-8 pass through, and line ends stay as they were sent.
 */
#ifndef CML_XML_H
#define CML_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CML_XML_MAX_DEPTH 32

enum cml_xml_token {
    CML_XML_ERROR, /* problem says why; every later call says the same */
    CML_XML_OPEN,  /* a start tag; <a/> is an OPEN and a CLOSE */
    CML_XML_TEXT,  /* everything up to the next start or end tag: at most one between two tags */
    CML_XML_CLOSE,
    CML_XML_END, /* the document is complete and nothing came after it */
};

struct cml_xml_name {
    const char *data;
    size_t length;
};

struct cml_xml {
    /* what the last token was about: slices of the document */
    const char *name; /* OPEN, CLOSE: without a prefix */
    size_t name_len;
    const char *text; /* TEXT: as it stands in the document, for cml_xml_decode unless plain */
    size_t text_len;
    bool plain;          /* no references, CDATA, comments or instructions in the text */
    uint32_t depth;      /* open elements: with the one just opened, without the one just closed */
    const char *problem; /* ERROR */
    /* private */
    const char *start, *at, *end;
    bool empty;     /* the element just opened ends with its own tag */
    bool root_seen;
    struct cml_xml_name open[CML_XML_MAX_DEPTH]; /* with prefixes, as end tags must repeat them */
};

void cml_xml_start(struct cml_xml *xml, const char *document, size_t length);
enum cml_xml_token cml_xml_next(struct cml_xml *xml);
size_t cml_xml_offset(const struct cml_xml *xml); /* where it is, or where the problem is, in bytes */

/* After OPEN: on to the CLOSE of an element that holds text only, which is then in text, text_len and plain. False is
 * an error; an element inside is one. */
bool cml_xml_leaf(struct cml_xml *xml);
/* After OPEN: on to the CLOSE of that element, whatever it holds. False is an error. */
bool cml_xml_skip(struct cml_xml *xml);

/* What a TEXT stands for. Writes at most `length` bytes to out and returns how many. */
size_t cml_xml_decode(const char *text, size_t length, char *out);

/* With a literal, the length and the comparison are the compiler's work. */
static inline bool cml_xml_is(const struct cml_xml *xml, const char *name) {
    return xml->name_len == strlen(name) && memcmp(xml->name, name, xml->name_len) == 0;
}

#endif
