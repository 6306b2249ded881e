/*
 * What a rollout does next: situations with the step that is right for them, written by hand, and
 * whole rollouts of 0 to 50 nodes, in which everything happens at every moment.
 */
#include "rollout/rollout.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

/*
 * Nodes as a picture: their waves, from the first, apart by |, and in each a letter a node.
 *
 *	w waits, r runs, d done, f failed, s skipped, l left; with preparation P waits, R runs, F
 *	failed, and then the node waits
 */
static int
draw(const char *picture, Member *members)
{
	int count = 0;
	int wave = 1;

	for (; *picture; picture++)
	{
		Member *m = &members[count];

		if (*picture == '|')
		{
			wave++;
			continue;
		}
		m->wave = wave;
		m->preparation = *picture == 'P' ? MEMBER_WAITS :
						 *picture == 'R' ? MEMBER_RUNS :
						 *picture == 'F' ? MEMBER_FAILED :
										   MEMBER_DONE;
		m->state = *picture == 'r' ? MEMBER_RUNS :
				   *picture == 'd' ? MEMBER_DONE :
				   *picture == 'f' ? MEMBER_FAILED :
				   *picture == 's' ? MEMBER_SKIPPED :
				   *picture == 'l' ? MEMBER_LEFT :
									 MEMBER_WAITS;
		count++;
	}
	return count;
}

/*
 * Events as letters: B bake begun, O and over, P promoted, H hurried, A aborted; + passed, -
 * failed, ? inconclusive, 0 unmeasured; m metrics are required; p paused by a person, u tenant
 * suspended; 1 one node at a time, 2 two; x one node may fail; h all healthy, t too late for it; a
 * functions are asked, g one of them is at work.
 */
static RolloutEvents
read_events(const char *letters)
{
	RolloutEvents e = { 0 };

	for (; *letters; letters++)
		switch (*letters)
		{
			case 'B':
				e.bake_begun = true;
				break;
			case 'O':
				e.bake_begun = e.bake_over = true;
				break;
			case 'P':
				e.promoted = true;
				break;
			case 'H':
				e.hurried = true;
				break;
			case 'A':
				e.aborted = true;
				break;
			case '+':
				e.gate = GATE_PASSED;
				break;
			case '-':
				e.gate = GATE_FAILED;
				break;
			case '?':
				e.gate = GATE_INCONCLUSIVE;
				break;
			case '0':
				e.gate = GATE_UNMEASURED;
				break;
			case 'm':
				e.require_metrics = true;
				break;
			case 'p':
				e.pauses |= PAUSE_PERSON;
				break;
			case 'u':
				e.pauses |= PAUSE_SUSPENDED;
				break;
			case '1':
			case '2':
				e.max_parallel = *letters - '0';
				break;
			case 'x':
				e.may_fail++;
				break;
			case 'a':
				e.gate_asked = true;
				break;
			case 'g':
				e.gate_asked = e.gate_runs = true;
				break;
			case 'h':
				e.all_healthy = true;
				break;
			case 't':
				e.health_late = true;
				break;
		}
	return e;
}

/* d direct, r rolling, c canary, b blue_green, as above with the waves of the picture */
static const struct
{
	const char *strategies;
	const char *picture;
	const char *events;
	RolloutStepKind kind;
	int wave;
	int detail; /* of a start: how many; of a pause: why */
} table[] = {
	/* no nodes at all */
	{ "drcb", "", "", ROLLOUT_DONE, 0, 0 },
	{ "drc", "", "A", ROLLOUT_TAKE_BACK, 0, 0 },

	/* the first wave */
	{ "drc", "www", "", ROLLOUT_START, 1, 3 },
	{ "drc", "www|w", "1", ROLLOUT_START, 1, 1 },
	{ "drc", "www", "p", ROLLOUT_PAUSE, 0, PAUSE_PERSON },
	{ "drc", "www", "pu", ROLLOUT_PAUSE, 0, PAUSE_PERSON | PAUSE_SUSPENDED },
	{ "drc", "www", "A", ROLLOUT_TAKE_BACK, 0, 0 },
	{ "drc", "www", "H", ROLLOUT_START, 1, 3 },

	/* in the middle of a wave: it ends what it has begun */
	{ "drc", "rww", "", ROLLOUT_START, 1, 2 },
	{ "drc", "rww", "p", ROLLOUT_START, 1, 2 },
	{ "drc", "rww", "1", ROLLOUT_WAIT, 1, 0 },
	{ "drc", "rww", "2", ROLLOUT_START, 1, 1 },
	{ "drc", "dww|w", "2", ROLLOUT_START, 1, 2 },
	{ "drc", "rdd", "", ROLLOUT_WAIT, 1, 0 },
	{ "drc", "rdd", "p", ROLLOUT_WAIT, 1, 0 },
	{ "drc", "rdd", "A", ROLLOUT_WAIT, 1, 0 },
	{ "drc", "wdd", "A", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "drc", "rfw", "", ROLLOUT_WAIT, 1, 0 },
	{ "drc", "dfw", "", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "drc", "dfw", "x", ROLLOUT_START, 1, 1 },
	{ "drc", "ffw", "x", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "drc", "fsw", "x", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "drc", "fs", "xx", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "drc", "ll", "", ROLLOUT_TAKE_BACK, 0, 0 },
	{ "drc", "lw", "", ROLLOUT_START, 1, 1 },
	{ "drc", "ld|w", "O+", ROLLOUT_START, 2, 1 },
	{ "drc", "s|w", "x", ROLLOUT_START, 2, 1 },

	/* between two waves */
	{ "rc", "dd|ww", "", ROLLOUT_BEGIN_BAKE, 1, 0 },
	{ "rc", "dd|ww", "p", ROLLOUT_BEGIN_BAKE, 1, 0 },
	{ "rc", "dd|ww", "B", ROLLOUT_BAKE, 1, 0 },
	{ "rc", "dd|ww", "B+", ROLLOUT_BAKE, 1, 0 },
	{ "rc", "dd|ww", "B?", ROLLOUT_BAKE, 1, 0 },
	{ "rc", "dd|ww", "B-", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "rc", "dd|ww", "-", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "rc", "dd|ww", "Bp", ROLLOUT_PAUSE, 1, PAUSE_PERSON },
	{ "rc", "dd|ww", "BpP", ROLLOUT_PAUSE, 1, PAUSE_PERSON },
	{ "rc", "dd|ww", "BA", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "rc", "dd|ww", "BP", ROLLOUT_ASK_GATE, 1, 0 },
	{ "rc", "dd|ww", "BH", ROLLOUT_ASK_GATE, 1, 0 },
	{ "rc", "dd|ww", "O", ROLLOUT_ASK_GATE, 1, 0 },
	{ "rc", "dd|ww", "Op", ROLLOUT_PAUSE, 1, PAUSE_PERSON },
	{ "rc", "dd|ww", "Oa", ROLLOUT_AWAIT_GATE, 1, 0 },
	{ "rc", "dd|ww", "Og", ROLLOUT_AWAIT_GATE, 1, 0 },
	{ "rc", "dd|ww", "Ogp", ROLLOUT_AWAIT_GATE, 1, 0 },
	{ "rc", "dd|ww", "OgP", ROLLOUT_AWAIT_GATE, 1, 0 },
	{ "c", "dd|ww", "Bg", ROLLOUT_AWAIT_GATE, 1, 0 },
	{ "rc", "dd|ww", "OgA", ROLLOUT_WAIT, 1, 0 },
	{ "rc", "dd|ww", "OaA", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "rc", "dd|ss", "Og", ROLLOUT_WAIT, 1, 0 },
	{ "rc", "dd|ww", "O+", ROLLOUT_START, 2, 2 },
	{ "rc", "dd|ww", "O+p", ROLLOUT_PAUSE, 1, PAUSE_PERSON },
	{ "rc", "dd|ww", "O-", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "rc", "dd|ww", "O-P", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "rc", "dd|ww", "O-H", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "rc", "dd|ww", "O-p", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "rc", "dd|ww", "O0", ROLLOUT_START, 2, 2 },
	{ "rc", "dd|ww", "O0m", ROLLOUT_PAUSE, 1, PAUSE_UNMEASURED },
	{ "rc", "dd|ww", "O0mP", ROLLOUT_START, 2, 2 },
	{ "rc", "dd|wwww", "O+1", ROLLOUT_START, 2, 1 },
	{ "rc", "dd|rrww", "", ROLLOUT_START, 2, 2 },
	{ "rc", "dd|rrdd", "-", ROLLOUT_WAIT, 2, 0 },
	{ "d", "dd", "", ROLLOUT_DONE, 1, 0 },
	{ "d", "dd", "p", ROLLOUT_DONE, 1, 0 },

	/* an inconclusive verdict goes on, and asks before more than half of the nodes have it */
	{ "rc", "d|w|w|w|w|w", "O?", ROLLOUT_START, 2, 1 },
	{ "rc", "d|d|w|w|w|w", "O?", ROLLOUT_START, 3, 1 },
	{ "rc", "d|d|d|w|w|w", "O?", ROLLOUT_PAUSE, 3, PAUSE_INCONCLUSIVE },
	{ "rc", "d|d|d|w|w|w", "O?P", ROLLOUT_START, 4, 1 },
	{ "rc", "d|d|d|w|w|w", "O?H", ROLLOUT_START, 4, 1 },
	{ "rc", "d|d|d|w|w|w", "O?p", ROLLOUT_PAUSE, 3, PAUSE_PERSON },
	{ "rc", "d|d|d|d|w|w", "O?", ROLLOUT_START, 5, 1 },
	{ "rc", "d|wwww", "O?", ROLLOUT_PAUSE, 1, PAUSE_INCONCLUSIVE },
	{ "rc", "d|w", "O?", ROLLOUT_PAUSE, 1, PAUSE_INCONCLUSIVE },
	{ "rc", "dd|w", "O?", ROLLOUT_START, 2, 1 },
	{ "rc", "d|w|ll", "O?", ROLLOUT_PAUSE, 1, PAUSE_INCONCLUSIVE },

	/* after the last one */
	{ "r", "dd|dd", "", ROLLOUT_DONE, 2, 0 },
	{ "c", "dd|dd", "", ROLLOUT_BEGIN_BAKE, 2, 0 },
	{ "c", "dd|dd", "B", ROLLOUT_BAKE, 2, 0 },
	{ "c", "dd|dd", "Bp", ROLLOUT_PAUSE, 2, PAUSE_PERSON },
	{ "c", "dd|dd", "O", ROLLOUT_ASK_GATE, 2, 0 },
	{ "c", "dd|dd", "O+", ROLLOUT_DONE, 2, 0 },
	{ "c", "dd|dd", "O?", ROLLOUT_DONE, 2, 0 },
	{ "c", "dd|dd", "O0", ROLLOUT_DONE, 2, 0 },
	{ "c", "dd|dd", "O-", ROLLOUT_TAKE_BACK, 2, 0 },
	{ "c", "dd|fd", "xO+", ROLLOUT_DONE, 2, 0 },
	{ "c", "dd|sl", "xO+", ROLLOUT_DONE, 1, 0 },
	{ "r", "dd|fd", "x", ROLLOUT_DONE, 2, 0 },

	/* blue_green makes all nodes ready, and switches when all are healthy */
	{ "b", "PPP", "", ROLLOUT_PREPARE, 0, 3 },
	{ "b", "PPP", "2", ROLLOUT_PREPARE, 0, 2 },
	{ "b", "PPP", "p", ROLLOUT_PAUSE, 0, PAUSE_PERSON },
	{ "b", "RPP", "1", ROLLOUT_WAIT, 0, 0 },
	{ "b", "RRw", "", ROLLOUT_WAIT, 0, 0 },
	{ "b", "RRw", "t", ROLLOUT_WAIT, 0, 0 },
	{ "b", "FRw", "", ROLLOUT_WAIT, 0, 0 },
	{ "b", "FPw", "", ROLLOUT_TAKE_BACK, 0, 0 },
	{ "b", "www", "", ROLLOUT_AWAIT_HEALTH, 0, 0 },
	{ "b", "lww", "h", ROLLOUT_START, 1, 2 },
	{ "b", "www", "t", ROLLOUT_TAKE_BACK, 0, 0 },
	{ "b", "www", "A", ROLLOUT_TAKE_BACK, 0, 0 },
	{ "b", "www", "h", ROLLOUT_START, 1, 3 },
	{ "b", "www", "hp", ROLLOUT_PAUSE, 0, PAUSE_PERSON },
	{ "b", "rww", "h", ROLLOUT_START, 1, 2 },
	{ "b", "rrd", "h", ROLLOUT_WAIT, 1, 0 },
	{ "b", "ddf", "h", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "b", "ddd", "h", ROLLOUT_BEGIN_BAKE, 1, 0 },
	{ "b", "ddd", "hB", ROLLOUT_BAKE, 1, 0 },
	{ "b", "ddd", "hBP", ROLLOUT_ASK_GATE, 1, 0 },
	{ "b", "ddd", "hO", ROLLOUT_ASK_GATE, 1, 0 },
	{ "b", "ddd", "hO-", ROLLOUT_TAKE_BACK, 1, 0 },
	{ "b", "ddd", "hO+", ROLLOUT_DONE, 1, 0 },
};

static Strategy
strategy_of(char letter)
{
	return letter == 'd' ? STRATEGY_DIRECT :
		   letter == 'r' ? STRATEGY_ROLLING :
		   letter == 'b' ? STRATEGY_BLUE_GREEN :
						   STRATEGY_CANARY;
}

static void
check_table(void)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		for (const char *s = table[i].strategies; *s; s++)
		{
			Member members[20];
			RolloutPlan plan = strategy_plan(strategy_of(*s));
			RolloutEvents events = read_events(table[i].events);
			int count = draw(table[i].picture, members);
			RolloutStep got = rollout_next(&plan, members, count, &events);
			int detail = got.kind == ROLLOUT_PAUSE ? (int) got.pauses : got.room;

			/* direct has nothing between its waves: it goes from one to the next */
			if (!ok(got.kind == table[i].kind && got.wave == table[i].wave &&
						detail == table[i].detail,
					"%s: \"%s\" with \"%s\"", strategy_names[plan.strategy], table[i].picture,
					table[i].events))
				printf("# got step %d, wave %d, %d; expected %d, %d, %d\n", got.kind, got.wave,
					   detail, table[i].kind, table[i].wave, table[i].detail);
		}
}

/* ---- whole rollouts ---- */

/* What happens in one, beside what it does itself. */
typedef enum Incident
{
	NOTHING,
	INCONCLUSIVE,
	UNMEASURED,
	FAILS_GATE,
	NODE_FAILS,
	PREPARATION_FAILS,
	ABORT,
	PERSON_PAUSES,
	PROMOTED,
	SKIPPED_NODE,
	REMOVED_NODE,
	INCIDENTS
} Incident;

static const char *const incident_names[] = {
	"nothing happens",        "gates are inconclusive", "nobody measures",  "a gate fails",
	"a node fails",           "a preparation fails",    "aborted",          "paused by a person",
	"a person is in a hurry", "a node is skipped",      "a node is removed"
};

typedef struct Run
{
	RolloutPlan plan;
	Member members[50];
	int count;
	RolloutEvents events;
	int started[50];
	int last_wave; /* that was begun */
	int bakes;
	int asked;
	int pauses;
	bool good;
	bool ended;
	bool taken_back;
} Run;

static void
fault(Run *r, bool good)
{
	r->good = r->good && good;
}

/* Ends what runs, but the one that fails. */
static void
finish_running(Run *r, Incident incident)
{
	for (int i = 0; i < r->count; i++)
	{
		Member *m = &r->members[i];

		if (m->preparation == MEMBER_RUNS)
			m->preparation = incident == PREPARATION_FAILS ? MEMBER_FAILED : MEMBER_DONE;
		else if (m->state == MEMBER_RUNS)
			m->state = incident == NODE_FAILS ? MEMBER_FAILED : MEMBER_DONE;
	}
}

static int
next_waiting(Run *r, int wave, bool preparation)
{
	for (int i = 0; i < r->count; i++)
		if ((preparation || r->members[i].wave == wave) && r->members[i].state == MEMBER_WAITS &&
			(!preparation || r->members[i].preparation == MEMBER_WAITS))
			return i;
	return -1;
}

/* Does what a step says. */
static void
carry_out(Run *r, RolloutStep step, Incident incident)
{
	switch (step.kind)
	{
		case ROLLOUT_PREPARE:
		case ROLLOUT_START:
			fault(r, step.wave == r->last_wave || step.wave == r->last_wave + 1);
			fault(r, step.room > 0);
			if (step.kind == ROLLOUT_START && step.wave != r->last_wave)
			{
				r->last_wave = step.wave;
				r->events.bake_begun = r->events.bake_over = r->events.promoted = false;
				r->events.gate = GATE_UNASKED;
			}
			for (int n = 0; n < step.room; n++)
			{
				int i = next_waiting(r, step.wave, step.kind == ROLLOUT_PREPARE);

				fault(r, i >= 0);
				if (i < 0)
					return;
				if (step.kind == ROLLOUT_PREPARE)
					r->members[i].preparation = MEMBER_RUNS;
				else
				{
					r->members[i].state = MEMBER_RUNS;
					r->started[i]++;
				}
			}
			break;
		case ROLLOUT_WAIT:
			finish_running(r, incident);
			r->events.gate_runs = false;
			break;
		case ROLLOUT_AWAIT_HEALTH:
			r->events.all_healthy = true;
			break;
		case ROLLOUT_BEGIN_BAKE:
			r->events.bake_begun = true;
			r->bakes++;
			break;
		case ROLLOUT_BAKE:
			r->events.bake_over = true;
			break;
		case ROLLOUT_ASK_GATE:
			r->asked++;
			r->events.gate_asked = r->events.gate_runs = true;
			break;
		case ROLLOUT_AWAIT_GATE:
			fault(r, r->events.gate_asked);
			r->events.gate_asked = r->events.gate_runs = false;
			r->events.gate = incident == INCONCLUSIVE ? GATE_INCONCLUSIVE :
							 incident == UNMEASURED   ? GATE_UNMEASURED :
							 incident == FAILS_GATE   ? GATE_FAILED :
														GATE_PASSED;
			break;
		case ROLLOUT_PAUSE:
			r->pauses++;
			if (step.pauses & PAUSE_PERSON)
				r->events.pauses = 0;
			else
				r->events.promoted = true;
			break;
		case ROLLOUT_TAKE_BACK:
			r->taken_back = r->ended = true;
			break;
		case ROLLOUT_DONE:
			r->ended = true;
			break;
	}
}

/* Lets something happen just before a step. */
static void
interfere(Run *r, Incident incident)
{
	if (incident == ABORT)
		r->events.aborted = true;
	else if (incident == PERSON_PAUSES)
		r->events.pauses = PAUSE_PERSON;
	else if (incident == PROMOTED)
		r->events.hurried = true;
	else if (incident == SKIPPED_NODE || incident == REMOVED_NODE)
		for (int i = r->count - 1; i >= 0; i--)
			if (r->members[i].state == MEMBER_WAITS)
			{
				r->members[i].state = incident == SKIPPED_NODE ? MEMBER_SKIPPED : MEMBER_LEFT;
				break;
			}
}

/* Nodes that are alike as one: the next step is the same. */
static bool
same_in_groups(const Run *r, RolloutStep step)
{
	Member groups[50];
	int count = 0;
	RolloutStep got;

	for (int i = 0; i < r->count; i++)
	{
		const Member *m = &r->members[i];
		int g = 0;

		while (g < count && (groups[g].wave != m->wave || groups[g].state != m->state ||
							 groups[g].preparation != m->preparation))
			g++;
		if (g < count)
			groups[g].more++;
		else
			groups[count++] = *m;
	}
	got = rollout_next(&r->plan, groups, count, &r->events);
	return got.kind == step.kind && got.wave == step.wave && got.room == step.room &&
		   got.pauses == step.pauses && got.is_failing == step.is_failing;
}

/* A rollout in which something happens before its n-th step; false: it has fewer. */
static bool
roll_out(Strategy strategy, int count, int max_parallel, Incident incident, int moment, Run *r)
{
	memset(r, 0, sizeof(*r));
	r->plan = strategy_plan(strategy);
	r->count = count;
	r->good = true;
	r->events.may_fail = incident == SKIPPED_NODE;
	r->events.max_parallel = max_parallel;
	for (int i = 0; i < count; i++)
		r->members[i].wave = strategy_wave(&r->plan, i, count);
	for (int n = 0; !r->ended; n++)
	{
		RolloutStep step;
		int running = 0;

		if (n == moment)
			interfere(r, incident);
		step = rollout_next(&r->plan, r->members, count, &r->events);
		fault(r, same_in_groups(r, step));
		carry_out(r, step, n >= moment ? incident : NOTHING);
		for (int i = 0; i < count; i++)
			running += r->members[i].state == MEMBER_RUNS;
		fault(r, max_parallel == 0 || running <= max_parallel);
		fault(r, !r->ended || running == 0);
		if (n > 1000)
		{
			fault(r, false);
			return false;
		}
		if (r->ended && n < moment)
			return false;
	}
	return true;
}

static void
check_end(Run *r, Incident incident)
{
	int done = 0;
	int skipped = 0;

	for (int i = 0; i < r->count; i++)
	{
		fault(r, r->started[i] <= 1);
		done += r->members[i].state == MEMBER_DONE;
		skipped += r->members[i].state == MEMBER_SKIPPED || r->members[i].state == MEMBER_LEFT;
	}
	/* all that belong to it, or it is taken back */
	if (!r->taken_back)
		fault(r, done + skipped == r->count);
	if (r->plan.strategy == STRATEGY_DIRECT)
		fault(r, r->bakes == 0 && r->asked == 0);
	if (!r->taken_back && incident == NOTHING && r->plan.bakes && r->count > 0)
	{
		int bakes = strategy_waves(&r->plan, r->count) - !r->plan.bake_last;

		fault(r, r->bakes == bakes && r->asked == bakes && r->pauses == 0);
	}
	if (incident == INCONCLUSIVE)
		fault(r, r->pauses <= 1 && !r->taken_back);
	if (incident == UNMEASURED || incident == PROMOTED)
		fault(r, r->pauses == 0 && !r->taken_back);
	if (incident == ABORT || (incident == NODE_FAILS && done < r->count))
		fault(r, r->taken_back);
}

static void
check_rollouts(Strategy strategy, Incident incident)
{
	static const int parallels[] = { 0, 1, 3 };
	bool good = true;
	int rollouts = 0;

	for (int count = 0; count <= 50; count++)
		for (int i = 0; i < 3; i++)
			for (int moment = 0;; moment++)
			{
				Run r;
				bool happened = roll_out(strategy, count, parallels[i], incident, moment, &r);

				if (happened)
					check_end(&r, incident);
				good = good && r.good;
				rollouts++;
				if (!happened)
					break;
			}
	ok(good, "%s, %s: 0 to 50 nodes, at every moment (%d rollouts)", strategy_names[strategy],
	   incident_names[incident], rollouts);
}

/* What two say together. */
static void
check_worst(void)
{
	static const Gate order[] = { GATE_UNASKED, GATE_UNMEASURED, GATE_PASSED, GATE_INCONCLUSIVE,
								  GATE_FAILED };

	for (int i = 0; i < 5; i++)
		for (int j = 0; j < 5; j++)
			is_int(gate_worst(order[i], order[j]), order[i > j ? i : j],
				   "the worse of two is the verdict");
}

int
main(void)
{
	check_table();
	check_worst();
	for (int strategy = STRATEGY_DIRECT; strategy < STRATEGY_AUTO; strategy++)
		for (int incident = NOTHING; incident < INCIDENTS; incident++)
			check_rollouts(strategy, incident);
	return tap_end();
}
