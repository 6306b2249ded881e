/*
 * args.c
 *		Checks of the arguments of SQL functions: one rule, one place.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/detoast.h"
#include "args.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Values in messages are cut at this many bytes. */
#define SHOWN_BYTES 100

static void
refuse_null(FunctionCallInfo fcinfo, int n, const char *word)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be null", word)));
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
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be blank", word)));
	if (strlen(value) > (size_t) limit && pg_mbstrlen(value) > limit)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is too long: \"%.*s...\"", word,
							   pg_mbcliplen(value, strlen(value), SHOWN_BYTES), value),
						errdetail("It has %d characters; at most %d are allowed.",
								  pg_mbstrlen(value), limit)));
	return value;
}

/* The same of an argument, which must not be null. */
char *
arg_text(FunctionCallInfo fcinfo, int n, const char *word, int limit)
{
	refuse_null(fcinfo, n, word);
	return arg_text_value(PG_GETARG_DATUM(n), word, limit);
}

char *
arg_text_or_null(FunctionCallInfo fcinfo, int n, const char *word, int limit)
{
	return PG_ARGISNULL(n) ? NULL : arg_text(fcinfo, n, word, limit);
}

/* A name that is safe in file names, URLs and messages. */
char *
arg_identifier(FunctionCallInfo fcinfo, int n, const char *word)
{
	char *value = arg_text(fcinfo, n, word, NAME_LIMIT);

	for (const char *p = value; *p; p++)
	{
		bool alnum =
			(*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');

		if (!alnum && (p == value || strchr("._+-", *p) == NULL))
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid %s: \"%s\"", word, value),
				 errdetail(
					 "It may contain the letters a to z and A to Z, digits, and the characters . _ + - after the first.")));
	}
	return value;
}

/* A script's text; NULL if it is not required and not given. */
char *
arg_script(FunctionCallInfo fcinfo, int n, const char *word, bool required)
{
	text *value;

	if (PG_ARGISNULL(n) && !required)
		return NULL;
	refuse_null(fcinfo, n, word);
	if (toast_raw_datum_size(PG_GETARG_DATUM(n)) - VARHDRSZ > SCRIPT_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is too large: %zu bytes", word,
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

	refuse_null(fcinfo, n, word);
	value = PG_GETARG_JSONB_P(n);
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be a JSON object", word)));
	if (strlen(jsonb_text(value)) > JSON_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is too large: %zu bytes", word, strlen(jsonb_text(value))),
						errdetail("At most %d bytes are allowed.", JSON_LIMIT)));
	return value;
}

int32
arg_int32(FunctionCallInfo fcinfo, int n, const char *word, int32 min, int32 max)
{
	int32 value;

	refuse_null(fcinfo, n, word);
	value = PG_GETARG_INT32(n);
	if (value < min || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is out of range: %d", word, value),
						errdetail("It must be between %d and %d.", min, max)));
	return value;
}

int64
arg_int64(FunctionCallInfo fcinfo, int n, const char *word)
{
	refuse_null(fcinfo, n, word);
	return PG_GETARG_INT64(n);
}

bool
arg_bool(FunctionCallInfo fcinfo, int n, const char *word)
{
	refuse_null(fcinfo, n, word);
	return PG_GETARG_BOOL(n);
}

pg_uuid_t
arg_uuid(FunctionCallInfo fcinfo, int n, const char *word)
{
	refuse_null(fcinfo, n, word);
	return *PG_GETARG_UUID_P(n);
}

Oid
arg_oid(FunctionCallInfo fcinfo, int n, const char *word)
{
	refuse_null(fcinfo, n, word);
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
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be finite", word)));
	return PG_GETARG_TIMESTAMPTZ(n);
}
