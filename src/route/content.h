/*
 * content.h
 *		What is in the schema of a slot.
 */
#ifndef HOTSWAP_ROUTE_CONTENT_H
#define HOTSWAP_ROUTE_CONTENT_H

#include "nodes/pg_list.h"

typedef enum ContentKind
{
	CONTENT_FUNCTION, /* or procedure: callers reach it through an entry */
	CONTENT_HELPER,   /* a type or a view */
	CONTENT_STRANGE   /* what does not belong there */
} ContentKind;

typedef struct Content
{
	Oid class;
	Oid object;
	ContentKind kind;
	char *description;
} Content;

/* All inside a scope; results are in the caller's memory context. */

/* Of Content *: all but the marker. */
extern List *content_read(Oid schema, Oid marker);
extern List *content_descriptions(List *contents);

/* OIDs of the functions. */
extern List *content_functions(List *contents);

/* Raises 0A000 where there is something that a version may not consist of. */
extern void content_require_routable(const char *version, const char *module, Oid schema,
									 List *contents);

/* What a version says of rights, and comments, does not stay for the next one: as of functions that are new. */
extern void content_reset_functions(Oid schema, List *contents);

/* Drop what nothing else depends on, or raise 2BP01. */
extern void content_drop_helpers(Oid schema, List *contents);
extern void content_drop_functions(List *contents, List *keep);
/* With these contents and the marker, InvalidOid: there is none; 2BP01 where there is more by now. */
extern void content_drop_schema(Oid schema, List *contents, Oid marker);

#endif /* HOTSWAP_ROUTE_CONTENT_H */
