/*
 * session_mark.h
 *		The session before a script, and after it.
 */
#ifndef HOTSWAP_SESSION_MARK_H
#define HOTSWAP_SESSION_MARK_H

#include "nodes/pg_list.h"
#include "storage/lock.h"

/* The session as it is before a script. */
typedef struct SessionMark
{
	int guc_level;
	Oid user;
	Oid session_user;
	List *temporary; /* OIDs of the class and the object of what is in its temporary schema */
} SessionMark;

extern void session_mark(SessionMark *mark);
extern void session_close(bool failed);
extern void session_tidy(const SessionMark *mark, const LOCKTAG *task_lock);

#endif /* HOTSWAP_SESSION_MARK_H */
