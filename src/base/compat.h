/*
 * compat.h
 *		Differences between PostgreSQL 15 and 18, in the shape of the newest API.
 *
 * Each shim names the release that brought the API and goes away with the last release that
 * needs it.  No other file looks at PG_VERSION_NUM.
 */
#ifndef HOTSWAP_COMPAT_H
#define HOTSWAP_COMPAT_H

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "hotswap needs PostgreSQL 15 or later"
#endif

/* 16: variable-length types moved out of postgres.h (d952373a987) */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16: rights are in a node beside that of the relation (a61b1f74823) */
#if PG_VERSION_NUM >= 160000
#define rights_of(item) ((item)->p_perminfo)
#define check_rights(pstate, item) \
	((void) ExecCheckPermissions((pstate)->p_rtable, list_make1((item)->p_perminfo), true))
#else
#define rights_of(item) ((item)->p_rte)
#define check_rights(pstate, item) ((void) ExecCheckRTPerms((pstate)->p_rtable, true))
#endif

/* 16: one ownership check for all catalogs (afbfc02983f) */
#if PG_VERSION_NUM >= 160000
#define database_ownercheck(dboid, roleid) object_ownercheck(DatabaseRelationId, dboid, roleid)
#define database_can_connect(dboid, roleid) \
	(object_aclcheck(DatabaseRelationId, dboid, roleid, ACL_CONNECT) == ACLCHECK_OK)
#define function_aclcheck(oid, roleid, mode) object_aclcheck(ProcedureRelationId, oid, roleid, mode)
#else
#define function_aclcheck(oid, roleid, mode) pg_proc_aclcheck(oid, roleid, mode)
#define database_ownercheck(dboid, roleid) pg_database_ownercheck(dboid, roleid)
#define database_can_connect(dboid, roleid) \
	(pg_database_aclcheck(dboid, roleid, ACL_CONNECT) == ACLCHECK_OK)
#endif

/* 16: the locks of a process are in dlists (5764f611e10).  Under the lock of the partition: the next one of ours. */
static inline PROCLOCK *
my_next_lock(int partition, PROCLOCK *last)
{
#if PG_VERSION_NUM >= 160000
	dlist_head *locks = &MyProc->myProcLocks[partition];
	dlist_node *node = last ? &last->procLink : &locks->head;

	return node->next == &locks->head ? NULL : dlist_container(PROCLOCK, procLink, node->next);
#else
	SHM_QUEUE *locks = &MyProc->myProcLocks[partition];

	return (PROCLOCK *) SHMQueueNext(locks, last ? &last->procLink : locks,
									 offsetof(PROCLOCK, procLink));
#endif
}

/* 17: the number of a virtual transaction is in a struct (ab355e3a88) */
#if PG_VERSION_NUM >= 170000
#define my_transaction_number() (MyProc->vxid.lxid)
#else
#define my_transaction_number() (MyProc->lxid)
#endif

/* 17: procs are known by ProcNumber, MyBackendId is gone (024c5211175) */
#if PG_VERSION_NUM >= 170000
#define my_proc_number() ((int) MyProcNumber)
#else
#define my_proc_number() (MyProc->pgprocno)
#endif

/* 17: named wait events of extensions (c9af054653) */
#if PG_VERSION_NUM >= 170000
#define wait_event_new(name) WaitEventExtensionNew(name)
#else
#define wait_event_new(name) PG_WAIT_EXTENSION
#endif

/* 17: LockHeldByMe takes "or a stronger mode" as third argument (b0c30612c5) */
#if PG_VERSION_NUM >= 170000
#define lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* 17: ReplicationSlotCleanup takes "only those synchronized from a primary" */
#if PG_VERSION_NUM >= 170000
#define replication_slot_cleanup() ReplicationSlotCleanup(false)
#else
#define replication_slot_cleanup() ReplicationSlotCleanup()
#endif

/* 17: transaction_timeout (51efe38cb9) */
#if PG_VERSION_NUM >= 170000
#define HAVE_TRANSACTION_TIMEOUT 1
#endif

/* 18: a portal that is run is run to its end (3eea7a0c97e) */
#if PG_VERSION_NUM >= 180000
#define portal_run(portal, receiver, completion) \
	((void) PortalRun(portal, FETCH_ALL, true, receiver, receiver, completion))
#else
#define portal_run(portal, receiver, completion) \
	((void) PortalRun(portal, FETCH_ALL, true, true, receiver, receiver, completion))
#endif

/* 18: pg_noreturn, before the declaration (28f04984f0c) */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

#endif /* HOTSWAP_COMPAT_H */
