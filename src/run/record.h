/*
 * record.h
 *		A task while it runs: what task.c, which runs it, and job_record.c, which records it, share.
 */
#ifndef HOTSWAP_RECORD_H
#define HOTSWAP_RECORD_H

#include "base/digest.h"
#include "core/steps.h"
#include "run/task.h"

/* The task and everything its scripts need; strings live in the caller's context. */
typedef struct Job
{
	TaskKey key;
	TaskKind kind;
	int32 attempt;
	int32 reverts;
	bool has_node;
	pg_uuid_t node;
	char *node_name;
	char *hook;
	char *schema;
	Oid role;
	char *module;
	char *version;
	char *previous_version;
	char *deploy;
	char *verify;
	char *revert;
	char *previous_deploy; /* deploy script of the previous version, for a revert */
	uint8 digest[DIGEST_LENGTH];
	uint8 previous_digest[DIGEST_LENGTH]; /* where there is a previous version */
	/* how far it is, for the report of an error */
	const char *script;    /* deploy, verify, revert, or NULL */
	const char *statement; /* the statement that runs */
	int statement_at;      /* its first character in the script, from 1 */
} Job;

/* How a task failed. */
typedef struct Failure
{
	int sqlerrcode;
	char *message;
	char *detail;
	char *hint;
	char *context;
	int position; /* 0: unknown */
} Failure;

extern void job_args(const Job *job, Datum *args);
extern void job_save_success(Job *job);
extern void job_save_failure(Job *job, const Failure *failure, bool cancelled);

#endif /* HOTSWAP_RECORD_H */
