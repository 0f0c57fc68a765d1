#include "handlers/redirect.h"

#include "handlers/text_parse.h"

bool redirect_preferred(const struct exchange *x)
{
    struct text prefer = x->request.header(x->request.source, "Prefer");
    return text_given(prefer) && text_given(parse_preference(prefer, "redirect"));
}

/* RFC 3986 §2.2, §2.3: what may stand in a path or a query as it is. */
static bool is_plain(char c)
{
    static const char OTHERS[] = "-._~!$&'()*+,;=:@/?%";
    bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alphanumeric || (c != '\0' && strchr(OTHERS, c) != NULL);
}

struct text redirect_target(struct text target, struct arena *arena)
{
    static const char DIGITS[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, target.len * 3 + 1);
    size_t len = 0;
    if (out == NULL) {
        return TEXT_ABSENT;
    }
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.at[i];
        if (is_plain((char)c)) {
            out[len++] = (char)c;
        } else {
            out[len++] = '%';
            out[len++] = DIGITS[c >> 4];
            out[len++] = DIGITS[c & 15];
        }
    }
    out[len] = '\0';
    return (struct text){out, len};
}

void redirect_respond(struct exchange *x, struct text base)
{
    struct text target = redirect_target(x->request.target, x->arena);
    x->response.header_count = 0; /* what parsing has applied is for who carries it out */
    exchange_header(x, "Location",
                    arena_format(x->arena, "%.*s%s", (int)base.len, base.at,
                                 text_given(target) ? target.at : ""));
    exchange_header(x, "Preference-Applied", TEXT("redirect"));
    exchange_respond(x, 307, TEXT_ABSENT);
}
