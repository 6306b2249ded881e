/*
 * args.h
 *		Arguments of SQL functions: fetched and checked in one step.
 *
 * Each raises 22023 with the argument's name and value.  "word" is the argument's name in SQL.
 */
#ifndef HOTSWAP_ARGS_H
#define HOTSWAP_ARGS_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#define NAME_LIMIT 63                   /* characters of an environment, node, key, tier or label */
#define VERSION_LIMIT 255               /* characters of the name of a version */
#define MODULE_LIMIT 128                /* characters of the name of a module, which are bytes */
#define REASON_LIMIT 10000              /* characters */
#define JSON_LIMIT (64 * 1024)          /* bytes of an object in text form */
#define SCRIPT_LIMIT (16 * 1024 * 1024) /* bytes */
#define PRIORITY_LIMIT 1000
#define ARRAY_LIMIT 100 /* elements */

extern void args_require_count(FunctionCallInfo fcinfo, int count);
extern void arg_require(FunctionCallInfo fcinfo, int n, const char *word);
extern char *arg_text(FunctionCallInfo fcinfo, int n, const char *word, int limit);
extern char *arg_text_value(Datum datum, const char *word, int limit);
extern char *arg_text_or_null(FunctionCallInfo fcinfo, int n, const char *word, int limit);
extern int arg_label(FunctionCallInfo fcinfo, int n, const char *word, const char *const *known,
					 int count);
extern char *arg_identifier(FunctionCallInfo fcinfo, int n, const char *word);
extern char *arg_module(FunctionCallInfo fcinfo, int n);
extern char *arg_version(FunctionCallInfo fcinfo, int n, const char *word);
extern char *arg_script(FunctionCallInfo fcinfo, int n, const char *word, bool required);
extern Jsonb *arg_object(FunctionCallInfo fcinfo, int n, const char *word);
extern int32 arg_int32(FunctionCallInfo fcinfo, int n, const char *word, int32 min, int32 max);
extern bool arg_is_module(const char *value);
extern bool arg_is_version(const char *value);
extern List *arg_sort_names(List *names);
extern List *arg_name_list(FunctionCallInfo fcinfo, int n, const char *word, int limit, int most);
extern List *arg_names(FunctionCallInfo fcinfo, int n, const char *word, int limit);
extern List *arg_oids(FunctionCallInfo fcinfo, int n, const char *word);
extern bool arg_bool(FunctionCallInfo fcinfo, int n, const char *word);
extern Interval *arg_interval(FunctionCallInfo fcinfo, int n, const char *word);
extern Interval *arg_interval_between(FunctionCallInfo fcinfo, int n, const char *word, int64 least,
									  int64 most, const char *range);
extern bool arg_digest(FunctionCallInfo fcinfo, int n, const char *word, uint8 *digest);
extern int64 arg_int64(FunctionCallInfo fcinfo, int n, const char *word);
extern pg_uuid_t arg_uuid(FunctionCallInfo fcinfo, int n, const char *word);
extern Oid arg_oid(FunctionCallInfo fcinfo, int n, const char *word);
extern TimestampTz arg_time(FunctionCallInfo fcinfo, int n, const char *word);
extern TimestampTz arg_until(FunctionCallInfo fcinfo, int n, const char *word);
extern char *jsonb_text(Jsonb *value);

#define ARG_TIME_NULL DT_NOBEGIN

#endif /* HOTSWAP_ARGS_H */
