/*
 * session.h
 *		The session of an executor.
 */
#ifndef HOTSWAP_RUN_SESSION_H
#define HOTSWAP_RUN_SESSION_H

extern uint64 session_prepare(Oid role);
extern void session_begin(uint64 rows);
extern bool session_is_stale(void);
extern void session_pin_errors(void);
extern void session_begin_transaction(void);
extern void session_commit_soon(void);
extern void session_clear(void);
extern void session_recover(void);
extern void session_recover_subtransaction(void);
extern void session_reset(void);
extern bool session_is_bloated(void);

#endif /* HOTSWAP_RUN_SESSION_H */
