/*
 * session_check.h
 *		The session after a script.
 */
#ifndef HOTSWAP_SESSION_CHECK_H
#define HOTSWAP_SESSION_CHECK_H

#include "storage/lock.h"

extern void session_check(Oid user, const char *search_path, const LOCKTAG *lock);

#endif /* HOTSWAP_SESSION_CHECK_H */
