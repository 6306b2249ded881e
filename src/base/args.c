/*
 * args.c
 *		Checks of the arguments of SQL functions: one rule, one place.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/detoast.h"
#include "base/args.h"
#include "base/db.h"
#include "base/digest.h"
#include "base/label.h"
#include "base/time.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Values in messages are cut at this many bytes. */
#define SHOWN_BYTES 100

#define LONGEST_UNTIL (366 * USECS_PER_DAY)

/*
 * Has the function as many arguments as this library knows?  A definition that is older than an update of the
 * library has fewer: 55000, as from every other function, before one that is not there is read.
 */
void
args_require_count(FunctionCallInfo fcinfo, int count)
{
	if (PG_NARGS() == count)
		return;
	(void) db_version_fits(db_extension_version(false), ERROR);
	elog(ERROR, "function has %d arguments instead of %d", PG_NARGS(), count);
}

/* Raises an error for NULL. */
void
arg_require(FunctionCallInfo fcinfo, int n, const char *word)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" must not be null", word)));
}

static bool
is_blank(const char *value)
{
	while (isspace((unsigned char) *value))
		value++;
	return *value == '\0';
}

/* A text that is not blank and at most limit characters long. */
char *
arg_text_value(Datum datum, const char *word, int limit)
{
	char *value = text_to_cstring(DatumGetTextPP(datum));

	if (is_blank(value))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" must not be blank", word)));
	if (strlen(value) > (size_t) limit && pg_mbstrlen(value) > limit)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is too long: \"%.*s...\"", word,
							   pg_mbcliplen(value, strlen(value), SHOWN_BYTES), value),
						errdetail("It has %d characters; at most %d are allowed.",
								  pg_mbstrlen(value), limit)));
	return value;
}

/* The same of an argument, which must not be null. */
char *
arg_text(FunctionCallInfo fcinfo, int n, const char *word, int limit)
{
	arg_require(fcinfo, n, word);
	return arg_text_value(PG_GETARG_DATUM(n), word, limit);
}

/* The number of one of the known labels. */
int
arg_label(FunctionCallInfo fcinfo, int n, const char *word, const char *const *known, int count)
{
	char *value = arg_text(fcinfo, n, word, NAME_LIMIT);
	int number = label_find(value, known, count);
	StringInfoData list;

	if (number >= 0)
		return number;
	initStringInfo(&list);
	for (int i = 0; i < count; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", known[i]);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value for \"%s\": \"%s\"", word, value),
					errdetail("It must be one of %s.", list.data)));
}

char *
arg_text_or_null(FunctionCallInfo fcinfo, int n, const char *word, int limit)
{
	return PG_ARGISNULL(n) ? NULL : arg_text(fcinfo, n, word, limit);
}

static bool
is_safe_name(const char *value)
{
	for (const char *p = value; *p; p++)
	{
		bool alnum =
			(*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');

		if (!alnum && (p == value || strchr("._+-", *p) == NULL))
			return false;
	}
	return true;
}

static char *
arg_safe_name(FunctionCallInfo fcinfo, int n, const char *word, int limit)
{
	char *value = arg_text(fcinfo, n, word, limit);

	if (!is_safe_name(value))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for \"%s\": \"%s\"", word, value),
			 errdetail(
				 "It may contain the letters a to z and A to Z, digits, and the characters . _ + - after the first.")));
	return value;
}

/* A name that is safe in file names, URLs and messages. */
char *
arg_identifier(FunctionCallInfo fcinfo, int n, const char *word)
{
	return arg_safe_name(fcinfo, n, word, NAME_LIMIT);
}

/* The name of a module, which is safe as well. */
char *
arg_module(FunctionCallInfo fcinfo, int n)
{
	return arg_safe_name(fcinfo, n, "module", MODULE_LIMIT);
}

/*
 * Characters that nobody sees, or that change how others are shown: two names must not look the same.
 * Other encodings than UTF-8 have no such characters beyond those of ASCII, or none that anybody uses.
 */
static bool
is_unprintable(pg_wchar c)
{
	if (c < 0x20 || c == 0x7f)
		return true;
	if (GetDatabaseEncoding() != PG_UTF8)
		return false;
	return (c >= 0x80 && c <= 0x9f) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
		   (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static bool
is_blank_character(pg_wchar c)
{
	if (c == ' ')
		return true;
	return GetDatabaseEncoding() == PG_UTF8 &&
		   (c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f ||
			c == 0x205f || c == 0x3000);
}

/* Why a text that is not empty is not the name of a version, or NULL. */
static char *
version_name_problem(const char *value)
{
	pg_wchar *characters = palloc((strlen(value) + 1) * sizeof(pg_wchar));
	int count = pg_mb2wchar(value, characters);

	for (int i = 0; i < count; i++)
		if (is_unprintable(characters[i]))
			return psprintf(_("Character %d is not printable."), i + 1);
	if (is_blank_character(characters[0]) || is_blank_character(characters[count - 1]))
		return _("It must not begin or end with a blank.");
	return NULL;
}

/* The name of a version, as people know it from elsewhere: any printable text. */
char *
arg_version(FunctionCallInfo fcinfo, int n, const char *word)
{
	char *value = arg_text(fcinfo, n, word, VERSION_LIMIT);
	char *problem = version_name_problem(value);

	if (problem)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for \"%s\": \"%s\"", word, value),
						errdetail_internal("%s", problem)));
	return value;
}

/* Could a part of an argument be the name of a module, or of a version? */
bool
arg_is_module(const char *value)
{
	return *value != '\0' && strlen(value) <= MODULE_LIMIT && is_safe_name(value);
}

bool
arg_is_version(const char *value)
{
	return *value != '\0' && pg_mbstrlen(value) <= VERSION_LIMIT &&
		   version_name_problem(value) == NULL;
}

/* A script's text; NULL if it is not required and not given. */
char *
arg_script(FunctionCallInfo fcinfo, int n, const char *word, bool required)
{
	text *value;

	if (PG_ARGISNULL(n) && !required)
		return NULL;
	arg_require(fcinfo, n, word);
	if (toast_raw_datum_size(PG_GETARG_DATUM(n)) - VARHDRSZ > SCRIPT_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is too large: %zu bytes", word,
							   (size_t) toast_raw_datum_size(PG_GETARG_DATUM(n)) - VARHDRSZ),
						errdetail("At most %d bytes are allowed.", SCRIPT_LIMIT)));
	value = PG_GETARG_TEXT_PP(n);
	return text_to_cstring(value);
}

/* The text form of a jsonb, which is canonical: keys are sorted, spaces are fixed. */
char *
jsonb_text(Jsonb *value)
{
	return JsonbToCString(NULL, &value->root, VARSIZE(value));
}

/* A JSON object of limited size. */
Jsonb *
arg_object(FunctionCallInfo fcinfo, int n, const char *word)
{
	Jsonb *value;

	arg_require(fcinfo, n, word);
	value = PG_GETARG_JSONB_P(n);
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" must be a JSON object", word)));
	if (strlen(jsonb_text(value)) > JSON_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is too large: %zu bytes", word, strlen(jsonb_text(value))),
						errdetail("At most %d bytes are allowed.", JSON_LIMIT)));
	return value;
}

int32
arg_int32(FunctionCallInfo fcinfo, int n, const char *word, int32 min, int32 max)
{
	int32 value;

	arg_require(fcinfo, n, word);
	value = PG_GETARG_INT32(n);
	if (value < min || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is out of range: %d", word, value),
						errdetail("It must be between %d and %d.", min, max)));
	return value;
}

static void
refuse_long_array(const char *word, int count, int most)
{
	if (count > most)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" has too many elements: %d", word, count),
						errdetail("At most %d are allowed.", most)));
}

static void
refuse_null_element(bool isnull, const char *word)
{
	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("element of \"%s\" must not be null", word)));
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* Sorts a list of names, and takes out what is in it twice. */
List *
arg_sort_names(List *names)
{
	char *previous = NULL;
	ListCell *cell;

	list_sort(names, compare_names);
	foreach (cell, names)
	{
		if (previous && strcmp(previous, lfirst(cell)) == 0)
			names = foreach_delete_current(names, cell);
		else
			previous = lfirst(cell);
	}
	return names;
}

/* An array of at most so many names as a list in their order; NIL for NULL. */
List *
arg_name_list(FunctionCallInfo fcinfo, int n, const char *word, int limit, int most)
{
	Datum *values;
	bool *nulls;
	int count;
	List *names = NIL;

	if (PG_ARGISNULL(n))
		return NIL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  &count);
	refuse_long_array(word, count, most);
	for (int i = 0; i < count; i++)
	{
		refuse_null_element(nulls[i], word);
		names = lappend(names, arg_text_value(values[i], word, limit));
	}
	return names;
}

/* An array of names as a sorted list without duplicates; NIL for NULL. */
List *
arg_names(FunctionCallInfo fcinfo, int n, const char *word, int limit)
{
	return arg_sort_names(arg_name_list(fcinfo, n, word, limit, ARRAY_LIMIT));
}

/* An array of OIDs as a list; NIL for NULL. */
List *
arg_oids(FunctionCallInfo fcinfo, int n, const char *word)
{
	Datum *values;
	bool *nulls;
	int count;
	List *oids = NIL;

	if (PG_ARGISNULL(n))
		return NIL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), ARR_ELEMTYPE(PG_GETARG_ARRAYTYPE_P(n)), sizeof(Oid),
					  true, TYPALIGN_INT, &values, &nulls, &count);
	refuse_long_array(word, count, ARRAY_LIMIT);
	for (int i = 0; i < count; i++)
	{
		refuse_null_element(nulls[i], word);
		oids = list_append_unique_oid(oids, DatumGetObjectId(values[i]));
	}
	return oids;
}

int64
arg_int64(FunctionCallInfo fcinfo, int n, const char *word)
{
	arg_require(fcinfo, n, word);
	return PG_GETARG_INT64(n);
}

bool
arg_bool(FunctionCallInfo fcinfo, int n, const char *word)
{
	arg_require(fcinfo, n, word);
	return PG_GETARG_BOOL(n);
}

Interval *
arg_interval(FunctionCallInfo fcinfo, int n, const char *word)
{
	arg_require(fcinfo, n, word);
	return PG_GETARG_INTERVAL_P(n);
}

/*
 * An interval that, beginning now, lasts from least to most microseconds, which range says in words; NULL where it
 * is NULL.
 */
Interval *
arg_interval_between(FunctionCallInfo fcinfo, int n, const char *word, int64 least, int64 most,
					 const char *range)
{
	TimestampTz now = GetCurrentTimestamp();
	Interval *value;
	int64 length;

	if (PG_ARGISNULL(n))
		return NULL;
	value = PG_GETARG_INTERVAL_P(n);
	length = time_after(now, value) - now;
	if (length < least || length > most)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is out of range: %s", word,
							   DatumGetCString(
								   DirectFunctionCall1(interval_out, IntervalPGetDatum(value)))),
						errdetail("It must be between %s.", range)));
	return value;
}

/* A SHA-256 in hex; false where it is NULL. */
bool
arg_digest(FunctionCallInfo fcinfo, int n, const char *word, uint8 *digest)
{
	char *hex = arg_text_or_null(fcinfo, n, word, 2 * DIGEST_LENGTH);

	if (hex && !digest_parse(hex, digest))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for \"%s\": \"%s\"", word, hex),
						errdetail("It must be a SHA-256 in hex.")));
	return hex != NULL;
}

pg_uuid_t
arg_uuid(FunctionCallInfo fcinfo, int n, const char *word)
{
	arg_require(fcinfo, n, word);
	return *PG_GETARG_UUID_P(n);
}

Oid
arg_oid(FunctionCallInfo fcinfo, int n, const char *word)
{
	arg_require(fcinfo, n, word);
	return PG_GETARG_OID(n);
}

/* A finite time stamp, or ARG_TIME_NULL. */
TimestampTz
arg_time(FunctionCallInfo fcinfo, int n, const char *word)
{
	if (PG_ARGISNULL(n))
		return ARG_TIME_NULL;
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(n)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" must be finite", word)));
	return PG_GETARG_TIMESTAMPTZ(n);
}

/* A time that something lasts until: later than now, and at most a year. */
TimestampTz
arg_until(FunctionCallInfo fcinfo, int n, const char *word)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = arg_time(fcinfo, n, word);

	arg_require(fcinfo, n, word);
	if (until <= now || until > now + LONGEST_UNTIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is out of range: %s", word, timestamptz_to_str(until)),
						errdetail("It must be in the future and at most a year away.")));
	return until;
}
