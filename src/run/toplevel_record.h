/*
 * toplevel_record.h
 *		How far a script outside of a transaction is, as rows.
 */
#ifndef HOTSWAP_TOPLEVEL_RECORD_H
#define HOTSWAP_TOPLEVEL_RECORD_H

#include "run/record.h"

/* What is known of a statement. */
typedef struct StatementRecord
{
	bool is_there;
	bool done;
	bool begun; /* and nobody has seen its end */
	bool in_doubt;
	int attempts;  /* that failed */
	List *indexes; /* of Oid: those of its table before it */
} StatementRecord;

/* In a transaction: those of a script of so many statements. */
extern StatementRecord *toplevel_read(const TaskRun *run, int count);

/* In a transaction, which is committed before the statement begins; 57014 if the deployment is cancelled. */
extern void toplevel_record_begin(const TaskRun *run, const StatementRecord *r, bool intent);

/* In the transaction of the statement where that can be. */
extern void toplevel_record_done(const TaskRun *run);

/* In the transaction that records the failure of the task. */
extern void toplevel_record_failure(const TaskRun *run);

/* In the transaction that records the end of the script: of all scripts of the version. */
extern void toplevel_forget(const TaskRun *run);

#endif /* HOTSWAP_TOPLEVEL_RECORD_H */
