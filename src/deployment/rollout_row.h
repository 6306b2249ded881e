/*
 * rollout_row.h
 *		The row of a rollout, and those of its deployment's pauses.
 */
#ifndef HOTSWAP_ROLLOUT_ROW_H
#define HOTSWAP_ROLLOUT_ROW_H

#include "core/deployment.h"
#include "nodes/pg_list.h"
#include "rollout/rollout.h"

#define NO_BAKE_LEFT (-1)

/* hotswap.gate_result, in the order of Gate */
extern const char *const gate_names[];

/* A stage that takes its nodes in waves. */
typedef struct RolloutRow
{
	int32 stage;
	RolloutPlan plan;
	int32 waves;
	Interval first_bake;
	Interval bake;
	Interval pause_timeout;
	Interval health_timeout;   /* of nodes that were prepared */
	AnalysisSettings analysis; /* those of them that were set */
	int32 looks;               /* at each bake */
	bool adaptive;             /* a bake ends when enough is known ... */
	Interval min_bake;         /* ... but not before */
	bool require_metrics;
	int32 max_parallel; /* nodes at a time; 0: any number */
	int32 looked;       /* how often at the present bake */
	int32 wave;         /* the last one that has begun; 0: none */
	int32
		frozen_wave; /* the last one of which people were told that windows hold it up; -1: none */
	TimestampTz bake_until;
	int32 first_share; /* of the callers, in the first wave; 0: waves are of nodes */
	int32 share_step;
	int64 bake_left; /* microseconds, while it is paused; NO_BAKE_LEFT: it is not */
	Gate gate;       /* after that wave */
	Gate measured;   /* what nodes report has said, while functions are asked; else GATE_UNASKED */
	List *functions; /* of GateFunction: those to be asked, where the row is new */
	bool promoted;
	bool hurried;
	bool is_changed;
	char *failure; /* why it goes back, unless a task says so */
} RolloutRow;

/* Of a deployment, by a person or by its gate. */
typedef struct PauseRow
{
	Pause kind;
	TimestampTz since;
	TimestampTz ends_at;
	TimestampTz remind_at; /* half of its time is over; DT_NOEND: people have been told */
	char *paused_by;
	char *reason;
} PauseRow;

/* Inside a scope, with the lock on the deployment's row. */
extern RolloutRow *rollout_load(const Deployment *d, int stage);
extern List *rollout_functions(const Deployment *d, int stage);
extern Gate gate_parse(const char *name);
extern void rollout_read_analysis(RolloutRow *r, int column);
extern void rollout_save(const Deployment *d, RolloutRow *r);
extern void rollout_forget(const Deployment *d, int from_stage);
/* Of the callers, when a wave has begun. */
extern int rollout_share(const RolloutRow *r, int wave);
extern int64 rollout_bake_length(const RolloutRow *r);
extern void rollout_begin_bake(RolloutRow *r, TimestampTz from);
extern void rollout_hold_bake(RolloutRow *r);
extern void rollout_go_on(RolloutRow *r);
extern List *pauses_load(const Deployment *d);
extern void pause_add(Deployment *d, const PauseRow *p);
extern void pause_note_reminder(const Deployment *d, PauseRow *p);
extern bool pauses_remove(const Deployment *d, unsigned kinds);

#endif /* HOTSWAP_ROLLOUT_ROW_H */
