/*
 * Any head before the guard: "version target\nname: value\n…". What it lets pass has one Host, one length, and no
 * byte that another reader could take for the end of a field.
 */
#include "handlers/text_parse.h"
#include "service/guard.h"
#include "tests/fuzz/front.h"

struct found {
    int hosts, lengths, encodings;
};

static void look(const struct guard_field *field, struct found *found)
{
    found->hosts += text_equal_nocase(field->name, "Host");
    found->lengths += text_equal_nocase(field->name, "Content-Length");
    found->encodings += text_equal_nocase(field->name, "Transfer-Encoding");
    PROMISE(field->name.len > 0, "a name without bytes");
    for (size_t i = 0; i < field->name.len; i++) {
        char c = field->name.at[i];
        PROMISE(c > ' ' && c < 0x7f && c != ':' && c != '(' && c != ')' && c != '"' && c != ',',
                "byte %d in a field's name", c);
    }
    for (size_t i = 0; i < field->value.len; i++) {
        char c = field->value.at[i];
        PROMISE(c != '\r' && c != '\n' && c != '\0', "byte %d in a field's value", c);
    }
}

/* A path, or a URL with a host and a path. */
static bool has_path(struct text target)
{
    bool url = target.len > 7 && text_equal_nocase((struct text){target.at, 7}, "http://");
    const char *slash = memchr(target.at + (url ? 7 : 0), '/', target.len - (url ? 7 : 0));
    return slash != NULL && (url ? slash > target.at + 7 : slash == target.at);
}

static void check(const struct guard_verdict *verdict, struct text target,
                  const struct guard_field *fields, size_t count)
{
    struct found found = {0, 0, 0};
    for (size_t i = 0; i < count; i++) {
        look(&fields[i], &found);
    }
    PROMISE(found.hosts <= 1 && found.lengths + found.encodings <= 1, "told twice");
    PROMISE(verdict->chunked == (found.encodings == 1), "chunked");
    PROMISE((verdict->content_length >= 0) == (found.lengths == 1), "length");
    PROMISE(verdict->content_length <= BODY_BYTES_MAX, "a large body");
    PROMISE(count <= HEADERS_MAX && target.len <= TARGET_BYTES_MAX, "a large head");
    PROMISE(has_path(target) && memchr(target.at, ' ', target.len) == NULL, "the target");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct guard_field fields[HEADERS_MAX + 1];
    struct text rest = {(const char *)data, size}, line = front_line(&rest);
    char version[16] = "";
    size_t count = 0;
    const char *space = line.len == 0 ? NULL : memchr(line.at, ' ', line.len);
    if (space == NULL || (size_t)(space - line.at) >= sizeof version) {
        return 0;
    }
    memcpy(version, line.at, (size_t)(space - line.at));
    struct text target = {space + 1, line.len - (size_t)(space + 1 - line.at)};
    while (count <= HEADERS_MAX && text_given(line = front_line(&rest))) {
        const char *colon = line.len == 0 ? NULL : memchr(line.at, ':', line.len);
        size_t len = colon == NULL ? line.len : (size_t)(colon - line.at);
        fields[count++] = (struct guard_field){
            {line.at, len},
            colon == NULL ? TEXT("") : (struct text){colon + 1, line.len - len - 1}};
    }
    struct guard_verdict verdict = guard_judge(target, version, fields, count);
    PROMISE((verdict.status == STATUS_OK) == (verdict.why == NULL), "the sentence");
    if (verdict.status == STATUS_OK) {
        check(&verdict, target, fields, count);
    }
    return 0;
}
