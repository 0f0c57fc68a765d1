#include "db/merge_patch.h"

#include "db/limits.h"

#include <stdlib.h>

/* Of so few members each is compared with each; more are sorted. */
enum { MEMBERS_COMPARED_MAX = 16 };

/* A value. Of objects the members are known, all else is but a piece of text. */
struct value {
    struct text text;
    bool is_object;
    size_t count;
    struct member *first;
};

struct member {
    struct text key; /* with its quotes */
    struct value value;
    struct member *next;
    const struct member
        *match; /* of the target's: the patch's of the same key; of the patch's: the target's */
};

/* ---- reading ------------------------------------------------------------------------------------------------------ */

struct reader {
    const char *at, *end;
    struct arena *arena;
    int depth;
};

static char peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : '\0';
}

/* Passes the byte; false when another is there. */
static bool pass(struct reader *r, char c)
{
    bool there = peek(r) == c;
    r->at += there;
    return there;
}

static bool pass_string(struct reader *r)
{
    if (!pass(r, '"')) {
        return false;
    }
    while (r->at < r->end && *r->at != '"') {
        r->at += *r->at == '\\' && r->end - r->at > 1 ? 2 : 1;
    }
    return pass(r, '"');
}

/* A list, with all that is in it. */
static bool pass_list(struct reader *r)
{
    size_t open = 0;
    do {
        char c = peek(r);
        if (c == '"') {
            if (!pass_string(r)) {
                return false;
            }
            continue;
        }
        open += c == '[';
        open -= c == ']';
        r->at += r->at < r->end;
    } while (open > 0 && r->at < r->end);
    return open == 0;
}

/* A number or a word. */
static bool pass_plain(struct reader *r)
{
    const char *first = r->at;
    while (r->at < r->end && *r->at != ',' && *r->at != '}' && *r->at != '"') {
        r->at++;
    }
    return r->at > first;
}

static bool read_object(struct reader *r, struct value *ret);

static bool read_value(struct reader *r, struct value *ret)
{
    const char *first = r->at;
    bool read = peek(r) == '{'   ? read_object(r, ret)
                : peek(r) == '"' ? pass_string(r)
                : peek(r) == '[' ? pass_list(r)
                                 : pass_plain(r);
    ret->text = (struct text){first, (size_t)(r->at - first)};
    return read;
}

static struct member *read_member(struct reader *r)
{
    struct member *member = arena_zalloc(r->arena, 1, sizeof *member);
    const char *first = r->at;
    if (member == NULL || !pass_string(r)) {
        return NULL;
    }
    member->key = (struct text){first, (size_t)(r->at - first)};
    return pass(r, ':') && read_value(r, &member->value) ? member : NULL;
}

static bool read_members(struct reader *r, struct value *ret)
{
    struct member **last = &ret->first;
    do {
        *last = read_member(r);
        if (*last == NULL) {
            return false;
        }
        last = &(*last)->next;
        ret->count++;
    } while (pass(r, ','));
    return pass(r, '}');
}

static bool read_object(struct reader *r, struct value *ret)
{
    ret->is_object = true;
    if (!pass(r, '{') || ++r->depth > JSON_DEPTH_MAX) {
        return false;
    }
    bool read = pass(r, '}') || read_members(r, ret);
    r->depth--;
    return read;
}

static bool read_text(struct arena *arena, struct text text, struct value *ret)
{
    if (!text_given(text)) {
        return false;
    }
    struct reader r = {.at = text.at, .end = text.at + text.len, .arena = arena};
    return read_value(&r, ret) && ret->is_object && r.at == r.end;
}

/* ---- who is who --------------------------------------------------------------------------------------------------- */

static int compare_keys(const void *one, const void *other)
{
    const struct member *a = *(const struct member *const *)one;
    const struct member *b = *(const struct member *const *)other;
    return text_compare(a->key, b->key);
}

static struct member **sorted(struct arena *arena, const struct value *object)
{
    struct member **members = arena_alloc(arena, object->count * sizeof(struct member *));
    size_t count = 0;
    for (struct member *m = object->first; members != NULL && m != NULL; m = m->next) {
        members[count++] = m;
    }
    if (members != NULL) {
        qsort(members, count, sizeof(struct member *), compare_keys);
    }
    return members;
}

static struct member *find(const struct value *object, struct text key)
{
    struct member *member = object->first;
    while (member != NULL && !text_equal(member->key, key)) {
        member = member->next;
    }
    return member;
}

/* Lets each member of both find the other's of the same key. False when memory ran out. */
static bool match(struct arena *arena, const struct value *target, const struct value *patch)
{
    bool many = target->count > MEMBERS_COMPARED_MAX && patch->count > MEMBERS_COMPARED_MAX;
    struct member **members = many ? sorted(arena, target) : NULL;
    if (many && members == NULL) {
        return false;
    }
    for (struct member *m = patch->first; m != NULL; m = m->next) {
        struct member **found =
            many ? bsearch(&m, members, target->count, sizeof *members, compare_keys) : NULL;
        struct member *other = found != NULL ? *found : many ? NULL : find(target, m->key);
        m->match = other;
        if (other != NULL) {
            other->match = m;
        }
    }
    return true;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

struct writer {
    struct arena *arena;
    char *at;
};

static void put(struct writer *w, struct text text)
{
    memcpy(w->at, text.at, text.len);
    w->at += text.len;
}

static bool write_merged(struct writer *w, const struct value *target, const struct value *patch);

static bool is_null(const struct value *value)
{
    return text_equal(value->text, TEXT("null"));
}

/* One member of the outcome: the target's value, where there is one, with the patch's, where there is one. */
static bool write_member(struct writer *w, bool first, struct text key, const struct value *target,
                         const struct value *patch)
{
    static const struct value EMPTY = {.text = {"{}", 2}, .is_object = true};
    put(w, first ? TEXT("") : TEXT(","));
    put(w, key);
    put(w, TEXT(":"));
    if (patch == NULL || !patch->is_object) {
        put(w, patch == NULL ? target->text : patch->text);
        return true;
    }
    return write_merged(w, target != NULL && target->is_object ? target : &EMPTY, patch);
}

static bool write_merged(struct writer *w, const struct value *target, const struct value *patch)
{
    bool first = true, written = match(w->arena, target, patch);
    put(w, TEXT("{"));
    for (const struct member *m = target->first; written && m != NULL; m = m->next) {
        const struct value *with = m->match == NULL ? NULL : &m->match->value;
        if (with == NULL || !is_null(with)) {
            written = write_member(w, first, m->key, &m->value, with);
            first = false;
        }
    }
    for (const struct member *m = patch->first; written && m != NULL; m = m->next) {
        if (m->match == NULL && !is_null(&m->value)) {
            written = write_member(w, first, m->key, NULL, &m->value);
            first = false;
        }
    }
    put(w, TEXT("}"));
    return written;
}

bool merge_patch(struct arena *arena, struct text target, struct text patch, struct text *ret)
{
    struct value before = {0}, change = {0};
    if (!read_text(arena, target, &before) || !read_text(arena, patch, &change)) {
        return false;
    }
    /* Each byte of the outcome is one of theirs, but for the comma between the two in each object of the patch that is
       merged into one of the target: the braces of one of them are left over. */
    char *begin = arena_alloc(arena, target.len + patch.len);
    struct writer w = {.arena = arena, .at = begin};
    if (begin == NULL || !write_merged(&w, &before, &change)) {
        return false;
    }
    *ret = (struct text){begin, (size_t)(w.at - begin)};
    return true;
}
