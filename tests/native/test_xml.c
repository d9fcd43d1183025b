/* The XML scanner: what it reads and what it refuses, cut anywhere and mutated at random. Documents are scanned in
 * memory of exactly their size, so that the sanitizer sees a read beyond either end.
 */
#include "engine/xml.h"
#include "support/check.h"

#define MAX_LOG 4096

/* ---- a document as a line: "<a> 'text' </a>" ---- */

struct log {
    char text[MAX_LOG];
    size_t length;
};

static void s_log(struct log *log, const char *before, const char *text, size_t length, const char *after) {
    int room = (int)(sizeof(log->text) - log->length);
    int wrote = snprintf(log->text + log->length, (size_t)room, "%s%.*s%s", before, (int)length, text, after);
    log->length += (size_t)(wrote < room ? wrote : room - 1);
}

static char *s_exact(const char *text, size_t length) {
    char *copy = malloc(length > 0 ? length : 1);
    memcpy(copy, text, length);
    return copy;
}

static void s_check_text(const struct cml_xml *xml, struct log *log) {
    char *out = malloc(xml->text_len + 1);
    size_t length = cml_xml_decode(xml->text, xml->text_len, out);
    CHECK(length <= xml->text_len);
    if (xml->plain) {
        CHECK(length == xml->text_len && memcmp(out, xml->text, length) == 0);
    }
    if (log != NULL) {
        s_log(log, "'", out, length, "'");
    }
    free(out);
}

/* Reads it to its end. What a token is about lies within the document and depth follows the tags. */
static enum cml_xml_token s_walk(const char *text, size_t length, struct log *log, struct cml_xml *xml) {
    char *document = s_exact(text, length);
    enum cml_xml_token token;
    uint32_t depth = 0;
    size_t count = 0;
    cml_xml_start(xml, document, length);
    do {
        token = cml_xml_next(xml);
        depth += token == CML_XML_OPEN;
        depth -= token == CML_XML_CLOSE;
        if (token == CML_XML_OPEN || token == CML_XML_CLOSE) {
            CHECK_EQ(xml->depth, depth);
            CHECK(xml->name_len > 0 && xml->name > document && xml->name + xml->name_len < document + length);
            if (log != NULL) {
                s_log(log, token == CML_XML_OPEN ? "<" : "</", xml->name, xml->name_len, ">");
            }
        } else if (token == CML_XML_TEXT) {
            CHECK(depth > 0 && xml->text > document && xml->text + xml->text_len < document + length);
            s_check_text(xml, log);
        }
        CHECK(cml_xml_offset(xml) <= length);
    } while (token != CML_XML_ERROR && token != CML_XML_END && CHECK(count++ <= length));
    CHECK((token == CML_XML_ERROR) == (xml->problem != NULL));
    CHECK_EQ(cml_xml_next(xml), token); /* says the same again */
    free(document);
    return token;
}

/* ---- what it reads ---- */

static const struct {
    const char *document, *expected;
} s_valid[] = {
    {"<a/>", "<a></a>"},
    {"<a></a>", "<a></a>"},
    {"<a >x</a\n>", "<a>'x'</a>"},
    {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<a>x</a>", "<a>'x'</a>"},
    {"<?xml version='1.0' encoding = 'us-ascii' standalone='yes'?><a/>", "<a></a>"},
    {"\xef\xbb\xbf<?xml version='1.0'?><a/>", "<a></a>"},
    {"<a><b>1</b> <b/>\n<c>2</c></a>", "<a><b>'1'</b>' '<b></b>'\n'<c>'2'</c></a>"},
    {"<s:a xmlns:s='u'><s:b xsi:type=\"t\">1</s:b></s:a>", "<a><b>'1'</b></a>"},
    {"<a b='>' c=\"'/>\" \n d = 'x&amp;&#60;'/>", "<a></a>"},
    {"<a>&lt;&gt;&amp;&quot;&apos;</a>", "<a>'<>&\"''</a>"},
    {"<a>&#65;&#x42;&#x4a;&#x4A;&#0067;</a>", "<a>'ABJJC'</a>"},
    {"<a>&#13;&#10;&#1;&#x1f;&#xfffe;</a>", "<a>'\r\n\x01\x1f\xef\xbf\xbe'</a>"},
    {"<a>&#233;&#x20ac;&#x10ffff;&#x1F600;</a>", "<a>'\xc3\xa9\xe2\x82\xac\xf4\x8f\xbf\xbf\xf0\x9f\x98\x80'</a>"},
    {"<a>&amp;lt;&#38;amp;</a>", "<a>'&lt;&amp;'</a>"},
    {"<a>x<![CDATA[<b>&amp;]]]>y<![CDATA[]]></a>", "<a>'x<b>&amp;]y'</a>"},
    {"<a>x<!-- <b> & - -->y<?p <b> & ?>z</a>", "<a>'xyz'</a>"},
    {"<a><!-->--><!----><?p?></a>", "<a>''</a>"},
    {"<a>]]>x</a>", "<a>']]>x'</a>"},
    {"<a>\xff\x80\x01 \t\r\n</a>", "<a>'\xff\x80\x01 \t\r\n'</a>"},
    {"<!--c--><?p x?> <a/>", "<a></a>"},
    {"<\xc3\xa9_-.1>x</\xc3\xa9_-.1>", "<\xc3\xa9_-.1>'x'</\xc3\xa9_-.1>"},
    {"<a><ab>1</ab></a>", "<a><ab>'1'</ab></a>"},
    {"<?xml-stylesheet href='x'?><a/>", "<a></a>"},
    {"<L xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><I>false</I><C><K>a&amp;b/c d</K><E>&quot;0f&quot;</E>"
     "<S>12</S><O><ID>x</ID><D/></O></C><C><K><![CDATA[x]]></K></C></L>",
     "<L><I>'false'</I><C><K>'a&b/c d'</K><E>'\"0f\"'</E><S>'12'</S><O><ID>'x'</ID><D></D></O></C>"
     "<C><K>'x'</K></C></L>"},
};
#define VALID (sizeof(s_valid) / sizeof(s_valid[0]))

static void test_valid(void) {
    section("what is read");
    for (size_t i = 0; i < VALID; ++i) {
        struct log log = {.length = 0};
        struct cml_xml xml;
        enum cml_xml_token token = s_walk(s_valid[i].document, strlen(s_valid[i].document), &log, &xml);
        if (!CHECK_EQ(token, CML_XML_END) || !CHECK(strcmp(log.text, s_valid[i].expected) == 0)) {
            fprintf(stderr, "  %s\n  read as %s (%s)\n", s_valid[i].document, log.text,
                    xml.problem != NULL ? xml.problem : "no problem");
        }
    }
}

static void test_after_the_end(void) {
    section("after the root: white space, comments and instructions");
    struct cml_xml xml;
    static const char document[] = "<a/> \r\n\t<!-- b --><?c d?>\n";
    CHECK_EQ(s_walk(document, strlen(document), NULL, &xml), CML_XML_END);
}

/* ---- what it refuses ---- */

static const struct {
    const char *document, *problem;
} s_invalid[] = {
    {"", "no element"},
    {" \n", "no element"},
    {"<!-- only -->", "no element"},
    {"{\"a\": 1}", "no XML"},
    {"x<a/>", "no XML"},
    {"<![CDATA[x]]><a/>", "markup"},
    {"<a/>x", "more after"},
    {"<a/><b/>", "more after"},
    {"<a/></a>", "more after"},
    {"</a>", "begins no tag"},
    {"<a></b>", "end tag"},
    {"<ab></cd>", "end tag"},
    {"<a></ab>", "end tag"},
    {"<ab></a >", "end tag"},
    {"<s:a></a>  ", "end tag"},
    {"<s:a></t:a>", "end tag"},
    {"<a><b></a></b>", "end tag"},
    {"<a></a b='c'>", "end tag"},
    {"<a></ a>", "end tag"},
    {"< a/>", "begins no tag"},
    {"<a>< b/></a>", "begins no tag"},
    {"<a><1/></a>", "begins no tag"},
    {"<a><:b/></a>", "begins no tag"},
    {"<a><b:/></a>", "begins no tag"},
    {"<a><b:-/></a>", "begins no tag"},
    {"<b:c:d/>", "not well-formed"},
    {"<a/ >", "not well-formed"},
    {"<a//>", "not well-formed"},
    {"<a$/>", "not well-formed"},
    {"<a 'x'/>", "not well-formed"},
    {"<a b/>", "without a value"},
    {"<a b =/>", "without quotes"},
    {"<a b=c/>", "without quotes"},
    {"<a b='c'd='e'/>", "not well-formed"},
    {"<a b='<'/>", "value"},
    {"<a b='&c;'/>", "value"},
    {"<a b='&'/>", "value"},
    {"<a b='&#0;'/>", "value"},
    {"<!DOCTYPE html><a/>", "document type"},
    {"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"},
    {"<a><!DOCTYPE b></a>", "document type"},
    {"<a><!ELEMENT b></a>", "markup"},
    {"<a>&b;</a>", "reference"},
    {"<a>&nbsp;</a>", "reference"},
    {"<a>a & b</a>", "reference"},
    {"<a>&amp</a>", "reference"},
    {"<a>&AMP;</a>", "reference"},
    {"<a>&;</a>", "reference"},
    {"<a>&#;</a>", "reference"},
    {"<a>&#x;</a>", "reference"},
    {"<a>&#X41;</a>", "reference"},
    {"<a>&#-1;</a>", "reference"},
    {"<a>&# 1;</a>", "reference"},
    {"<a>&#1a;</a>", "reference"},
    {"<a>&#65</a>", "reference"},
    {"<a>&#0;</a>", "reference"},
    {"<a>&#x0000;</a>", "reference"},
    {"<a>&#xd800;</a>", "reference"},
    {"<a>&#xDFFF;</a>", "reference"},
    {"<a>&#55296;</a>", "reference"},
    {"<a>&#x110000;</a>", "reference"},
    {"<a>&#4294967361;</a>", "reference"},
    {"<a>&#x100000041;</a>", "reference"},
    {"<a>&#99999999999999999999999999;</a>", "reference"},
    {"<a><!-- x -- y --></a>", "comment"},
    {"<a><!-- x ---></a>", "comment"},
    {"<a><? x?></a>", "instruction"},
    {"<a><?1?></a>", "instruction"},
    {"<a><?x$?></a>", "instruction"},
    {" <?xml version='1.0'?><a/>", "not at the start"},
    {"<a><?XML x?></a>", "not at the start"},
    {"<?xml version='1.0' encoding='UTF-16'?><a/>", "encoding"},
    {"<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "encoding"},
    {"<?xml version='1.0' encoding='utf-8\"?><a/>", "encoding"},
    {"<?xml version='1.0' encoding=?><a/>", "encoding"},
    {"<?xml version='1.0' encoding?><a/>", "encoding"},
};

static void s_check_invalid(const char *document, size_t length, const char *problem) {
    struct cml_xml xml;
    CHECK_EQ(s_walk(document, length, NULL, &xml), CML_XML_ERROR);
    if (!CHECK(xml.problem != NULL && strstr(xml.problem, problem) != NULL)) {
        fprintf(stderr, "  %s\n  is refused for %s\n", document, xml.problem != NULL ? xml.problem : "nothing");
    }
}

static void test_invalid(void) {
    section("what is refused, and why");
    for (size_t i = 0; i < sizeof(s_invalid) / sizeof(s_invalid[0]); ++i) {
        s_check_invalid(s_invalid[i].document, strlen(s_invalid[i].document), s_invalid[i].problem);
    }
    s_check_invalid("<a>x\0y</a>", 10, "NUL");
    s_check_invalid("<a><![CDATA[\0]]></a>", 20, "NUL");
    s_check_invalid("<a b='\0'/>", 10, "value");
    s_check_invalid("<a\0/>", 5, "not well-formed");
    s_check_invalid("<a/>\0", 5, "more after");
    s_check_invalid("\xff\xfe<\0a\0/\0>\0", 10, "no XML");
}

static void test_depth(void) {
    section("depth: as deep as said, and no deeper");
    char document[8 * CML_XML_MAX_DEPTH];
    struct cml_xml xml;
    for (int extra = 0; extra <= 1; ++extra) {
        size_t length = 0;
        for (int i = 0; i < CML_XML_MAX_DEPTH + extra; ++i, length += 3) {
            memcpy(document + length, "<a>", 3);
        }
        for (int i = 0; i < CML_XML_MAX_DEPTH + extra; ++i, length += 4) {
            memcpy(document + length, "</a>", 4);
        }
        CHECK_EQ(s_walk(document, length, NULL, &xml), extra ? CML_XML_ERROR : CML_XML_END);
    }
    CHECK(strstr(xml.problem, "too deep") != NULL);
    CHECK_EQ(cml_xml_offset(&xml), 3 * CML_XML_MAX_DEPTH);
}

/* ---- every number, both ways ---- */

static size_t s_utf8_length(uint32_t code) {
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

static uint32_t s_read_utf8(const uint8_t *at, size_t length) {
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = at[0] & masks[length];
    for (size_t i = 1; i < length; ++i) {
        code = code << 6 | (at[i] & 0x3f);
    }
    return code;
}

static void test_every_reference(void) {
    section("every number as a reference");
    char document[40], out[40];
    struct cml_xml xml;
    for (uint32_t code = 0; code < 0x110100; code += code < 0x3000 || code >= 0x10ff00 ? 1 : 7) {
        int length = snprintf(document, sizeof(document), code % 2 ? "<a>&#%u;</a>" : "<a>&#x%x;</a>", code);
        bool allowed = code > 0 && code < 0x110000 && !(code >= 0xd800 && code <= 0xdfff);
        cml_xml_start(&xml, document, (size_t)length);
        CHECK_EQ(cml_xml_next(&xml), CML_XML_OPEN);
        CHECK_EQ(cml_xml_leaf(&xml), allowed);
        if (allowed) {
            size_t written = cml_xml_decode(xml.text, xml.text_len, out);
            CHECK_EQ(written, s_utf8_length(code));
            CHECK_EQ(s_read_utf8((const uint8_t *)out, written), code);
        }
    }
}

/* ---- leaf, skip, copies ---- */

static void test_leaf_and_skip(void) {
    section("leaf, skip, names, a copy as a bookmark");
    static const char document[] = "<r><k>a&amp;b</k><o><i>1</i><i/>t</o><e/><k><x/></k></r>";
    struct cml_xml xml, bookmark;
    cml_xml_start(&xml, document, strlen(document));
    CHECK_EQ(cml_xml_next(&xml), CML_XML_OPEN);
    bookmark = xml;
    CHECK_EQ(cml_xml_next(&xml), CML_XML_OPEN);
    CHECK(cml_xml_leaf(&xml) && cml_xml_is(&xml, "k") && !cml_xml_is(&xml, "kk") && !cml_xml_is(&xml, ""));
    CHECK(xml.text_len == 7 && memcmp(xml.text, "a&amp;b", 7) == 0 && !xml.plain);
    CHECK_EQ(cml_xml_next(&xml), CML_XML_OPEN);
    CHECK(cml_xml_skip(&xml) && cml_xml_is(&xml, "o"));
    CHECK_EQ(xml.depth, 1);
    CHECK_EQ(cml_xml_next(&xml), CML_XML_OPEN);
    CHECK(cml_xml_leaf(&xml) && cml_xml_is(&xml, "e") && xml.text_len == 0 && xml.plain);
    CHECK_EQ(cml_xml_next(&xml), CML_XML_OPEN);
    CHECK(!cml_xml_leaf(&xml));
    CHECK(xml.problem != NULL && !cml_xml_skip(&xml) && !cml_xml_leaf(&xml));
    CHECK(cml_xml_skip(&bookmark));
    CHECK_EQ(cml_xml_next(&bookmark), CML_XML_END);
}

/* ---- cut and mutated ---- */

static void test_every_cut(void) {
    section("cut anywhere: always an error");
    for (size_t i = 0; i < VALID; ++i) {
        for (size_t length = 0; length < strlen(s_valid[i].document); ++length) {
            struct cml_xml xml;
            CHECK_EQ(s_walk(s_valid[i].document, length, NULL, &xml), CML_XML_ERROR);
        }
    }
}

/* As a reader does that knows some elements and skips others. */
static void s_read_with_helpers(const char *text, size_t length, uint64_t *seed) {
    char *document = s_exact(text, length);
    struct cml_xml xml;
    cml_xml_start(&xml, document, length);
    enum cml_xml_token token;
    while ((token = cml_xml_next(&xml)) != CML_XML_ERROR && token != CML_XML_END) {
        uint32_t depth = xml.depth;
        uint64_t choice = check_random(seed) % 4;
        if (token == CML_XML_OPEN && choice == 0 && cml_xml_leaf(&xml)) {
            CHECK_EQ(xml.depth, depth - 1);
            s_check_text(&xml, NULL);
        } else if (token == CML_XML_OPEN && choice == 1 && cml_xml_skip(&xml)) {
            CHECK_EQ(xml.depth, depth - 1);
        }
    }
    free(document);
}

static size_t s_mutate(char *text, size_t length, size_t capacity, uint64_t *seed) {
    static const char *const bits[] = {"<",   ">",    "/",    "&",    ";",         "<!--",    "-->", "<![CDATA[", "]]>",
                                       "<?",  "?>",   "&#x",  "&#",   "&amp;",     "\"",      "'",   "=",         " ",
                                       "<a>", "</a>", "<b/>", "\xff", "<!DOCTYPE", "&#xd8;", ":",   "xml",       ""};
    size_t at = check_random(seed) % (length + 1), cut = check_random(seed) % 4;
    const char *bit = bits[check_random(seed) % (sizeof(bits) / sizeof(bits[0]))];
    cut = cut > length - at ? length - at : cut;
    if (length - cut + strlen(bit) > capacity) {
        return length;
    }
    memmove(text + at + strlen(bit), text + at + cut, length - at - cut);
    memcpy(text + at, bit, strlen(bit));
    length = length - cut + strlen(bit);
    if (length > 0 && check_random(seed) % 4 == 0) {
        text[check_random(seed) % length] = (char)check_random(seed);
    }
    return length;
}

static void test_mutations(void) {
    section("mutated at random: read or refused, within bounds");
    uint64_t seed = 0x5eed5eed5eed5eedull;
    unsigned read = 0, refused = 0;
    for (int round = 0; round < 60000; ++round) {
        char text[1024];
        const char *from = s_valid[check_random(&seed) % VALID].document;
        size_t length = strlen(from);
        memcpy(text, from, length);
        for (uint64_t i = check_random(&seed) % 6 + 1; i > 0; --i) {
            length = s_mutate(text, length, sizeof(text), &seed);
        }
        struct cml_xml xml;
        enum cml_xml_token token = s_walk(text, length, NULL, &xml);
        read += token == CML_XML_END;
        refused += token == CML_XML_ERROR;
        s_read_with_helpers(text, length, &seed);
    }
    CHECK(read > 1000 && refused > 1000);
    printf("  %u read, %u refused\n", read, refused);
}

int main(void) {
    test_valid();
    test_after_the_end();
    test_invalid();
    test_depth();
    test_every_reference();
    test_leaf_and_skip();
    test_every_cut();
    test_mutations();
    return check_report();
}
