#include "xml.h"

#include <strings.h>

/* Classes of bytes. Bytes of 128 and above are parts of characters that names may hold. */
enum { NAME = 1, NAME_START = 2, SPACE = 4, TEXT_STOP = 8, DIGIT = 16, HEX = 32 };

static const uint8_t s_class[256] = {
    ['a' ... 'f'] = NAME | NAME_START | HEX,
    ['g' ... 'z'] = NAME | NAME_START,
    ['A' ... 'F'] = NAME | NAME_START | HEX,
    ['G' ... 'Z'] = NAME | NAME_START,
    ['_'] = NAME | NAME_START,
    [0x80 ... 0xff] = NAME | NAME_START,
    ['0' ... '9'] = NAME | DIGIT | HEX,
    ['-'] = NAME,
    ['.'] = NAME,
    [' '] = SPACE,
    ['\t'] = SPACE,
    ['\n'] = SPACE,
    ['\r'] = SPACE,
    ['<'] = TEXT_STOP,
    ['&'] = TEXT_STOP,
    [0] = TEXT_STOP,
};

static const char s_cut[] = "the document ends in the middle";
static const char s_bad_tag[] = "a tag that is not well-formed";
static const char s_bad_end[] = "an end tag that is not of the open element";

static bool s_in(const char *at, unsigned classes) {
    return (s_class[(uint8_t)*at] & classes) != 0;
}

static const char *s_over(const char *at, const char *end, unsigned classes) {
    while (at < end && s_in(at, classes)) {
        ++at;
    }
    return at;
}

static const char *s_over_plain(const char *at, const char *end) {
    while (at < end && !s_in(at, TEXT_STOP)) {
        ++at;
    }
    return at;
}

static bool s_begins(const char *at, const char *end, const char *what) {
    size_t length = strlen(what);
    return (size_t)(end - at) >= length && memcmp(at, what, length) == 0;
}

/* Just past the next `what`, or NULL. */
static const char *s_past(const char *at, const char *end, const char *what) {
    size_t length = strlen(what);
    for (; end - at >= (ptrdiff_t)length; ++at) {
        at = memchr(at, what[0], (size_t)(end - at) - length + 1);
        if (at == NULL || memcmp(at, what, length) == 0) {
            return at != NULL ? at + length : NULL;
        }
    }
    return NULL;
}

static enum cml_xml_token s_fail(struct cml_xml *xml, const char *at, const char *problem) {
    xml->at = at;
    xml->problem = problem;
    return CML_XML_ERROR;
}

/* As s_fail, for those that return a place to go on from. */
static const char *s_stop(struct cml_xml *xml, const char *at, const char *problem) {
    s_fail(xml, at, problem);
    return NULL;
}

/* ---- references ---- */

static const struct {
    const char *text;
    uint32_t code;
} s_named[] = {{"&quot;", '"'}, {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&apos;", '\''}};

static uint32_t s_digit(char digit) {
    return s_in(&digit, DIGIT) ? (uint32_t)(digit - '0') : (uint32_t)((digit | 0x20) - 'a' + 10);
}

/* At "&#". Past the reference, or NULL. */
static const char *s_number(const char *at, const char *end, uint32_t *code) {
    bool hex = s_begins(at, end, "&#x");
    uint32_t value = 0, base = hex ? 16 : 10;
    const char *from = at + (hex ? 3 : 2);
    for (at = from; at < end && s_in(at, hex ? HEX : DIGIT); ++at) {
        value = value * base + s_digit(*at);
        if (value > 0x10ffff) {
            return NULL;
        }
    }
    bool surrogate = value >= 0xd800 && value <= 0xdfff;
    if (at == from || at == end || *at != ';' || value == 0 || surrogate) {
        return NULL;
    }
    *code = value;
    return at + 1;
}

/* At '&'. Past the reference, or NULL if it is none that we know. */
static const char *s_reference(const char *at, const char *end, uint32_t *code) {
    if (s_begins(at, end, "&#")) {
        return s_number(at, end, code);
    }
    for (size_t i = 0; i < sizeof(s_named) / sizeof(s_named[0]); ++i) {
        if (s_begins(at, end, s_named[i].text)) {
            *code = s_named[i].code;
            return at + strlen(s_named[i].text);
        }
    }
    return NULL;
}

static char *s_write_utf8(uint32_t code, char *out) {
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    unsigned following = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    *out++ = (char)(lead[following] | code >> (6 * following));
    while (following-- > 0) {
        *out++ = (char)(0x80 | ((code >> (6 * following)) & 0x3f));
    }
    return out;
}

/* ---- what may stand between tags: comments, instructions, CDATA ---- */

static const char *s_over_comment(struct cml_xml *xml, const char *at) {
    const char *past = s_past(at + 4, xml->end, "--");
    if (past == NULL || past == xml->end) {
        return s_stop(xml, at, s_cut);
    }
    return *past == '>' ? past + 1 : s_stop(xml, past, "\"--\" within a comment");
}

/* Any other declared encoding would give wrong keys. */
static bool s_declares_utf8(const char *at, const char *end) {
    const char *value = s_past(at, end, "encoding");
    if (value == NULL) {
        return true;
    }
    value = s_over(value, end, SPACE);
    value = s_over(value + (*value == '='), end, SPACE);
    const char *past = s_over(value + 1, end, NAME);
    size_t length = (size_t)(past - value) - 1;
    return (*value == '"' || *value == '\'') && *past == *value &&
           ((length == 5 && strncasecmp(value + 1, "utf-8", 5) == 0) ||
            (length == 8 && strncasecmp(value + 1, "us-ascii", 8) == 0));
}

static const char *s_over_instruction(struct cml_xml *xml, const char *at) {
    const char *name = at + 2, *after = s_over(name, xml->end, NAME), *past = s_past(after, xml->end, "?>");
    if (past == NULL) {
        return s_stop(xml, at, s_cut);
    }
    if (after == name || !s_in(name, NAME_START) || (*after != '?' && !s_in(after, SPACE))) {
        return s_stop(xml, at, "a processing instruction without a name");
    }
    bool declares = after - name == 3 && strncasecmp(name, "xml", 3) == 0;
    if (declares && at != xml->start) {
        return s_stop(xml, at, "an XML declaration that is not at the start");
    }
    if (declares && !s_declares_utf8(after, past - 2)) {
        return s_stop(xml, at, "an encoding other than UTF-8");
    }
    return past;
}

/* At "<!" or "<?". Past it, or NULL with the problem noted. */
static const char *s_over_other(struct cml_xml *xml, const char *at) {
    if (at[1] == '?') {
        return s_over_instruction(xml, at);
    }
    if (s_begins(at, xml->end, "<!--")) {
        return s_over_comment(xml, at);
    }
    if (s_begins(at, xml->end, "<!DOCTYPE")) {
        return s_stop(xml, at, "a document type declaration");
    }
    if (xml->depth > 0 && s_begins(at, xml->end, "<![CDATA[")) {
        const char *past = s_past(at + 9, xml->end, "]]>");
        if (past != NULL && memchr(at, 0, (size_t)(past - at)) != NULL) {
            return s_stop(xml, at, "a NUL");
        }
        return past != NULL ? past : s_stop(xml, at, s_cut);
    }
    return s_stop(xml, at, xml->end - at < 9 ? s_cut : "markup that is not known here");
}

/* ---- tags ---- */

/* Past a name, with the part after its prefix in `local`; NULL if there is none. */
static const char *s_name(const char *at, const char *end, struct cml_xml_name *local) {
    const char *past = s_over(at, end, NAME);
    if (past > at && past < end && *past == ':' && s_in(at, NAME_START)) {
        at = past + 1;
        past = s_over(at, end, NAME);
    }
    *local = (struct cml_xml_name){at, (size_t)(past - at)};
    return past > at && s_in(at, NAME_START) ? past : NULL;
}

/* At the opening quote. Past the closing one, or NULL with the problem noted. */
static const char *s_over_value(struct cml_xml *xml, const char *at) {
    const char *past = memchr(at + 1, *at, (size_t)(xml->end - at) - 1);
    if (past == NULL) {
        return s_stop(xml, at, s_cut);
    }
    uint32_t code;
    for (++at; (at = s_over_plain(at, past)) < past;) {
        const char *next = *at == '&' ? s_reference(at, past, &code) : NULL;
        if (next == NULL) {
            return s_stop(xml, at, "an attribute's value that is not allowed");
        }
        at = next;
    }
    return past + 1;
}

/* At an attribute's name. Past the attribute, or NULL with the problem noted. */
static const char *s_over_attribute(struct cml_xml *xml, const char *at) {
    struct cml_xml_name ignored;
    const char *past = s_name(at, xml->end, &ignored);
    if (past == NULL) {
        return s_stop(xml, at, s_bad_tag);
    }
    at = s_over(past, xml->end, SPACE);
    if (at < xml->end && *at != '=') {
        return s_stop(xml, at, "an attribute without a value");
    }
    at = at < xml->end ? s_over(at + 1, xml->end, SPACE) : at;
    if (at == xml->end) {
        return s_stop(xml, at, s_cut);
    }
    return *at == '"' || *at == '\'' ? s_over_value(xml, at) : s_stop(xml, at, "an attribute without quotes");
}

/* After a tag's name: at its '>' or '/', or NULL with the problem noted. */
static const char *s_over_attributes(struct cml_xml *xml, const char *at) {
    while (at != NULL) {
        const char *next = s_over(at, xml->end, SPACE);
        if (next == xml->end) {
            return s_stop(xml, next, s_cut);
        }
        if (*next == '>' || *next == '/') {
            return next;
        }
        at = next > at ? s_over_attribute(xml, next) : s_stop(xml, next, s_bad_tag);
    }
    return NULL;
}

static enum cml_xml_token s_open(struct cml_xml *xml) {
    struct cml_xml_name local;
    const char *name = xml->at + 1, *at = s_name(name, xml->end, &local);
    if (at == NULL) {
        return s_fail(xml, xml->at, "a '<' that begins no tag");
    }
    if (xml->depth == CML_XML_MAX_DEPTH) {
        return s_fail(xml, xml->at, "elements too deep in each other");
    }
    xml->open[xml->depth++] = (struct cml_xml_name){name, (size_t)(at - name)};
    if (at == xml->end || *at != '>') {
        at = s_over_attributes(xml, at);
        if (at == NULL) {
            return CML_XML_ERROR;
        }
    }
    xml->empty = *at == '/';
    at += xml->empty;
    if (at == xml->end || *at != '>') {
        return s_fail(xml, at, at == xml->end ? s_cut : s_bad_tag);
    }
    xml->name = local.data;
    xml->name_len = local.length;
    xml->root_seen = true;
    xml->at = at + 1;
    return CML_XML_OPEN;
}

static enum cml_xml_token s_closed(struct cml_xml *xml) {
    struct cml_xml_name name = xml->open[--xml->depth];
    const char *colon = memchr(name.data, ':', name.length);
    xml->name = colon != NULL ? colon + 1 : name.data;
    xml->name_len = (size_t)(name.data + name.length - xml->name);
    return CML_XML_CLOSE;
}

/* At "</". */
static enum cml_xml_token s_close(struct cml_xml *xml) {
    struct cml_xml_name name = xml->open[xml->depth - 1];
    const char *at = xml->at + 2, *past = at + name.length;
    if ((size_t)(xml->end - at) <= name.length) {
        return s_fail(xml, xml->at, s_cut);
    }
    if (memcmp(at, name.data, name.length) != 0) {
        return s_fail(xml, xml->at, s_bad_end);
    }
    past = s_over(past, xml->end, SPACE);
    if (past == xml->end || *past != '>') {
        return s_fail(xml, xml->at, past == xml->end ? s_cut : s_bad_end);
    }
    xml->at = past + 1;
    return s_closed(xml);
}

/* ---- text ---- */

static enum cml_xml_token s_text(struct cml_xml *xml) {
    const char *at = xml->at, *end = xml->end;
    uint32_t code;
    xml->text = at;
    xml->plain = true;
    while ((at = s_over_plain(at, end)) < end) {
        if (*at == '<' && end - at > 1 && at[1] != '!' && at[1] != '?') {
            xml->text_len = (size_t)(at - xml->text);
            xml->at = at;
            return CML_XML_TEXT;
        }
        xml->plain = false;
        const char *from = at;
        if (*at == '&') {
            at = s_reference(from, end, &code);
            if (at == NULL) {
                return s_fail(xml, from, "a reference that is not known");
            }
        } else if (*at == '<' && end - at > 1) {
            at = s_over_other(xml, from);
            if (at == NULL) {
                return CML_XML_ERROR;
            }
        } else {
            return s_fail(xml, at, *at == 0 ? "a NUL" : s_cut);
        }
    }
    return s_fail(xml, end, s_cut);
}

/* Before and after the root element. */
static enum cml_xml_token s_outside(struct cml_xml *xml) {
    while ((xml->at = s_over(xml->at, xml->end, SPACE)) < xml->end) {
        const char *at = xml->at;
        if (*at != '<') {
            return s_fail(xml, at, xml->root_seen ? "more after the end" : "no XML");
        }
        if (xml->end - at == 1) {
            return s_fail(xml, at, s_cut);
        }
        if (at[1] != '!' && at[1] != '?') {
            return xml->root_seen ? s_fail(xml, at, "more after the end") : s_open(xml);
        }
        at = s_over_other(xml, at);
        if (at == NULL) {
            return CML_XML_ERROR;
        }
        xml->at = at;
    }
    return xml->root_seen ? CML_XML_END : s_fail(xml, xml->at, "no element");
}

/* ---- the face ---- */

void cml_xml_start(struct cml_xml *xml, const char *document, size_t length) {
    xml->end = document + length;
    xml->start = s_begins(document, xml->end, "\xef\xbb\xbf") ? document + 3 : document;
    xml->at = xml->start;
    xml->name = xml->text = document;
    xml->name_len = xml->text_len = 0;
    xml->problem = NULL;
    xml->depth = 0;
    xml->plain = xml->empty = xml->root_seen = false;
}

enum cml_xml_token cml_xml_next(struct cml_xml *xml) {
    if (xml->problem != NULL) {
        return CML_XML_ERROR;
    }
    if (xml->empty) {
        xml->empty = false;
        return s_closed(xml);
    }
    if (xml->depth == 0) {
        return s_outside(xml);
    }
    const char *at = xml->at;
    if (xml->end - at > 1 && *at == '<' && at[1] != '!' && at[1] != '?') {
        return at[1] == '/' ? s_close(xml) : s_open(xml);
    }
    return s_text(xml);
}

size_t cml_xml_offset(const struct cml_xml *xml) {
    return (size_t)(xml->at - xml->start);
}

bool cml_xml_leaf(struct cml_xml *xml) {
    xml->text = xml->at;
    xml->text_len = 0;
    xml->plain = true;
    enum cml_xml_token token = cml_xml_next(xml);
    if (token == CML_XML_TEXT) {
        token = cml_xml_next(xml);
    }
    if (token == CML_XML_OPEN) {
        s_fail(xml, xml->at, "an element where only text may be");
    }
    return token == CML_XML_CLOSE;
}

bool cml_xml_skip(struct cml_xml *xml) {
    uint32_t depth = xml->depth;
    do {
        if (cml_xml_next(xml) == CML_XML_ERROR) {
            return false;
        }
    } while (xml->depth >= depth);
    return true;
}

/* At a comment, an instruction or CDATA that the scanner has passed. Past it; what it stands for goes to *out. */
static const char *s_decode_other(const char *at, const char *end, char **out) {
    if (!s_begins(at, end, "<![CDATA[")) {
        return s_begins(at, end, "<?") ? s_past(at, end, "?>") : s_past(at + 4, end, "-->");
    }
    const char *from = at + 9, *past = s_past(from, end, "]]>");
    if (past != NULL) {
        memcpy(*out, from, (size_t)(past - 3 - from));
        *out += past - 3 - from;
    }
    return past;
}

size_t cml_xml_decode(const char *text, size_t length, char *out) {
    const char *at = text, *end = text + length;
    char *from = out;
    uint32_t code = 0;
    while (at != NULL && at < end) {
        const char *past = s_over_plain(at, end);
        memcpy(out, at, (size_t)(past - at));
        out += past - at;
        at = past;
        if (at < end && *at == '&') {
            at = s_reference(at, end, &code);
            out = at != NULL ? s_write_utf8(code, out) : out;
        } else if (at < end) {
            at = s_decode_other(at, end, &out);
        }
    }
    return (size_t)(out - from);
}
