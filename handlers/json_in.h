/*
 * Reads the JSON of a request. A `fields` is one object being read: each field_* call takes one member, checks its
 * type and bounds, and the first thing that is wrong sticks, with a sentence that names the field; fields_end then
 * returns it, or UNKNOWN_FIELD if the object has members that nobody took. So a parse function reads straight down,
 * without a branch for each field.
 *
 * Texts that are returned are borrowed from the request's body or live in the exchange's arena: they last as long as the
 * exchange. They are not NUL-terminated.
 */
#ifndef RINGHOLD_HANDLERS_JSON_IN_H
#define RINGHOLD_HANDLERS_JSON_IN_H

#include "handlers/exchange.h"
#include "handlers/json.h"

enum { FIELDS_MAX = 24, FIELD_PATH_MAX = 96 };

struct fields {
    struct exchange *x;
    const struct json *object; /* NULL after a failure */
    const struct json *taken[FIELDS_MAX];
    size_t taken_count;
    char path[FIELD_PATH_MAX]; /* "messages[3]." for sentences; empty at the top */
    enum status status;
};

/* The request's body: one JSON object. An empty body reads as {}. */
struct fields fields_of_body(struct exchange *x);
/* An object inside: the element `index` of member `name`, or the member itself when index is negative. */
struct fields fields_of_item(const struct fields *parent, const char *name, long index,
                             const struct json *value);
/* Ends reading; OK, or the first refusal. */
MUST_CHECK enum status fields_end(struct fields *fields);
/* Folds an inner object's outcome into its parent's. */
void fields_absorb(struct fields *parent, enum status status);

bool field_given(struct fields *fields, const char *name);         /* there, even as null */
bool field_is_text(const struct fields *fields, const char *name); /* there as a string */
bool field_null(struct fields *fields, const char *name); /* there as null; takes it then */

#define REQUIRED INT64_MAX /* as the default of field_int: the field must be there */

/* An integer between min and max; `otherwise` where the field is missing. */
int64_t field_int(struct fields *fields, const char *name, int64_t min, int64_t max,
                  int64_t otherwise);
/* A number between min and max, in thousandths. */
int64_t field_milli(struct fields *fields, const char *name, int64_t min, int64_t max,
                    int64_t otherwise);
bool field_flag(struct fields *fields, const char *name, bool otherwise);
/* A string of min to max bytes; absent where the field is missing, unless it is required. */
struct text field_text(struct fields *fields, const char *name, size_t min, size_t max,
                       bool required);
/* A string that is a valid name (API.md §1). */
struct text field_name(struct fields *fields, const char *name, bool required);
/* One of the choices (a NULL-terminated list): its index; `otherwise` where the field is missing. */
int64_t field_choice(struct fields *fields, const char *name, const char *const *choices,
                     int64_t otherwise);
/* An RFC 3339 instant as milliseconds since 1970; ABSENT where it is missing. */
int64_t field_instant(struct fields *fields, const char *name);
/* An object, as compact JSON text of at most `max` bytes; absent where it is missing, unless required. */
struct text field_object(struct fields *fields, const char *name, size_t max, bool required);
/* Any JSON value, as compact text. */
struct text field_any(struct fields *fields, const char *name, size_t max, bool required);
/* A list of min to max elements; NULL where it is missing, unless required. Walked with json_first, json_next. */
const struct json *field_list(struct fields *fields, const char *name, size_t min, size_t max,
                              bool required);
/* An object to be read with fields_of_item; NULL where it is missing. */
const struct json *field_nested(struct fields *fields, const char *name);

/* Says that the field is wrong, in words of the caller's. */
void field_refuse(struct fields *fields, enum status status, const char *name, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

#endif
