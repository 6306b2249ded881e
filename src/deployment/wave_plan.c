/*
 * wave_plan.c
 *		In which waves a deployment would take the nodes of an environment: its strategy, the settings, and which node
 *		is of which wave.
 *
 * A stage begins with it, and preview() shows it.  Chance is the id of the deployment, so that preview(), which has
 * none, cannot say whom it takes.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/label.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/gate_function.h"
#include "core/release.h"
#include "deployment/wave_plan.h"
#include "route/route.h"
#include "utils/builtins.h"

static DbStatement settings_query = DB_STATEMENT(
	"SELECT first_wave, wave_step, first_bake, bake, bake_last, pause_timeout,"
	" health_timeout, confidence, more_errors, more_latency, more_cpu, more_memory,"
	" looks, adaptive, min_bake, require_metrics, max_parallel, order_by FROM hotswap.environment WHERE tenant_id = $1 AND name = $2",
	UUIDOID, TEXTOID);

/* Has any of these nodes ever reported numbers that count? */
static DbStatement measured_query =
	DB_STATEMENT("SELECT FROM unnest($2) n (id) WHERE EXISTS (SELECT FROM hotswap.node_metric m"
				 " WHERE m.tenant_id = $1 AND m.node_id = n.id AND m.counts) LIMIT 1",
				 UUIDOID, UUIDARRAYOID);

/* Does a canary take callers first? */
static DbStatement by_callers_query =
	DB_STATEMENT("SELECT FROM hotswap.environment e JOIN hotswap.module m ON m.tenant_id = $1"
				 " AND m.name = $3 AND m.routed WHERE e.tenant_id = $1 AND e.name = $2"
				 " AND e.canary_by = 'callers'",
				 UUIDOID, TEXTOID, TEXTOID);

/* The values of these labels of each node, in the order of the nodes. */
static DbStatement labels_query = DB_STATEMENT(
	"SELECT ARRAY(SELECT n.labels ->> k.name FROM unnest($3) WITH ORDINALITY k (name, place) ORDER BY k.place)"
	" FROM unnest($2) WITH ORDINALITY x (id, place) JOIN hotswap.node n ON n.tenant_id = $1"
	" AND n.id = x.id ORDER BY x.place",
	UUIDOID, UUIDARRAYOID, TEXTARRAYOID);

/* In the order of settings_query. */
enum
{
	S_FIRST_WAVE = 1,
	S_WAVE_STEP,
	S_FIRST_BAKE,
	S_BAKE,
	S_BAKE_LAST,
	S_PAUSE_TIMEOUT,
	S_HEALTH_TIMEOUT,
	S_ANALYSIS,
	S_MAX_PARALLEL = S_ANALYSIS + 9,
	S_ORDER_BY
};

typedef struct OrderedNode
{
	Datum *labels; /* of text */
	bool *missing;
	int nlabels;
	uint64 hash;
	int index;
} OrderedNode;

static char *
label_at(const OrderedNode *node, int i)
{
	return node->missing[i] ? NULL : TextDatumGetCString(node->labels[i]);
}

static int
compare_nodes(const void *a, const void *b)
{
	const OrderedNode *x = a;
	const OrderedNode *y = b;

	for (int i = 0; i < x->nlabels; i++)
	{
		int order = label_compare(label_at(x, i), label_at(y, i));

		if (order != 0)
			return order;
	}
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->index - y->index;
}

static Interval
interval_of(int64 microseconds)
{
	return (Interval){ .time = microseconds };
}

static void
read_share(int column, Share *share)
{
	char *text = db_text(0, column);

	if (text)
		*share = (Share){ .number = atoi(text), .percent = strchr(text, '%') != NULL };
}

static void
read_interval(int column, Interval *interval)
{
	bool isnull;
	Datum value = db_datum(0, column, &isnull);

	if (!isnull)
		*interval = *DatumGetIntervalP(value);
}

/*
 * What the environment says, else the defaults of the strategy: half a minute, or for a canary 15.  Returns the labels
 * that its nodes are ordered by.
 */
static Datum
read_settings(const Deployment *d, const char *environment, RolloutRow *r)
{
	Datum order_by;
	bool isnull;
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(environment) };

	r->bake = interval_of(r->plan.strategy == STRATEGY_CANARY ? 15 * USECS_PER_MINUTE :
																30 * USECS_PER_SEC);
	if (db_run(&settings_query, args, NULL) == 0)
		elog(ERROR, "environment \"%s\" has disappeared", environment);
	read_share(S_FIRST_WAVE, &r->plan.first_wave);
	read_share(S_WAVE_STEP, &r->plan.wave_step);
	read_interval(S_BAKE, &r->bake);
	r->first_bake = r->bake;
	read_interval(S_FIRST_BAKE, &r->first_bake);
	if (!db_isnull(0, S_BAKE_LAST))
		r->plan.bake_last = db_bool(0, S_BAKE_LAST);
	read_interval(S_PAUSE_TIMEOUT, &r->pause_timeout);
	read_interval(S_HEALTH_TIMEOUT, &r->health_timeout);
	r->max_parallel = db_int32(0, S_MAX_PARALLEL);
	order_by = db_datum(0, S_ORDER_BY, &isnull);
	rollout_read_analysis(r, S_ANALYSIS);
	return order_by;
}

/* Agents are there to say how they are; of database nodes somebody has to. */
static bool
is_measured(const Deployment *d, List *plans)
{
	Datum *ids = palloc(list_length(plans) * sizeof(Datum));
	int count = 0;
	Datum args[2];
	ListCell *cell;

	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);

		if (p->outcome != NODE_RUNS)
			continue;
		if (p->is_agent)
			return true;
		ids[count++] = UUIDPGetDatum(&p->node);
	}
	args[0] = UUIDPGetDatum(&d->tenant);
	args[1] = uuid_array(ids, count);
	return count > 0 && db_run(&measured_query, args, NULL) > 0;
}

/* Nothing takes back what runs outside of transactions, so it cannot be tried before. */
static bool
can_be_prepared(List *plans)
{
	ListCell *cell;

	foreach (cell, plans)
	{
		const NodePlan *p = lfirst(cell);
		ListCell *s;

		if (p->outcome == NODE_RUNS && !p->is_agent)
			foreach (s, p->steps)
				if (!((Step *) lfirst(s))->transactional)
					return false;
	}
	return true;
}

/* A canary may take callers first: of one module, which is routed, and not of agents. */
static bool
may_go_by_callers(const Deployment *d, const char *environment, List *plans)
{
	Datum args[] = { UUIDPGetDatum(&d->tenant), CStringGetTextDatum(environment), (Datum) 0 };
	ListCell *cell;

	if (d->release)
		return false;
	foreach (cell, plans)
		if (((NodePlan *) lfirst(cell))->is_agent)
			return false;
	args[2] = CStringGetTextDatum(d->module);
	return db_run(&by_callers_query, args, NULL) > 0;
}

/* The functions that are asked after its waves. */
static List *
functions_of(const Deployment *d, const char *environment)
{
	return gate_functions(&d->tenant, environment, target_modules(deployment_targets(d)));
}

/* The strategy that is carried out: what takes something back, or brings up a single node, waits for nothing. */
static Strategy
choose_strategy(const Deployment *d, const char *environment, List *plans, bool by_callers)
{
	const NodePlan *first = linitial(plans);
	Strategy strategy = label_parse(first->strategy, strategy_names, STRATEGIES);
	int count = 0;
	ListCell *cell;

	foreach (cell, plans)
		count += ((NodePlan *) lfirst(cell))->outcome == NODE_RUNS;
	/* a single node has more than one caller */
	if (by_callers && count == 1 && strategy == STRATEGY_CANARY)
		count++;
	if (d->kind != KIND_DEPLOY)
		return STRATEGY_DIRECT;
	strategy = strategy_resolve(strategy, environment,
								strategy == STRATEGY_AUTO && count > 1 &&
									(is_measured(d, plans) || functions_of(d, environment) != NIL),
								count);
	if (strategy == STRATEGY_BLUE_GREEN && !can_be_prepared(plans))
		return STRATEGY_ROLLING;
	return strategy;
}

/* The nodes that have something to run, as they are planned. */
static OrderedNode *
find_nodes(const Deployment *d, List *plans, int *count)
{
	OrderedNode *nodes = palloc0(list_length(plans) * sizeof(OrderedNode));

	*count = 0;
	for (int i = 0; i < list_length(plans); i++)
	{
		const NodePlan *p = list_nth(plans, i);

		if (p->outcome != NODE_RUNS)
			continue;
		nodes[*count].index = i;
		nodes[*count].hash = strategy_hash(d->id.data, p->node.data, UUID_LEN);
		(*count)++;
	}
	return nodes;
}

/* Reads the labels that they are ordered by. */
static void
read_labels(const Deployment *d, List *plans, Datum order_by, OrderedNode *nodes, int count)
{
	Datum *ids = palloc(Max(count, 1) * sizeof(Datum));
	Datum args[] = { UUIDPGetDatum(&d->tenant), (Datum) 0, order_by };

	if (ARR_NDIM(DatumGetArrayTypeP(order_by)) == 0)
		return;
	for (int i = 0; i < count; i++)
		ids[i] = UUIDPGetDatum(&((NodePlan *) list_nth(plans, nodes[i].index))->node);
	args[1] = uuid_array(ids, count);
	if (db_run(&labels_query, args, NULL) != (uint64) count)
		elog(ERROR, "a node has disappeared");
	for (int i = 0; i < count; i++)
	{
		bool isnull;

		deconstruct_array(DatumGetArrayTypeP(db_datum(i, 1, &isnull)), TEXTOID, -1, false,
						  TYPALIGN_INT, &nodes[i].labels, &nodes[i].missing, &nodes[i].nlabels);
	}
}

/* In the order in which the strategy takes them: by labels, else by chance, or by name as they are planned. */
static void
order_nodes(OrderedNode *nodes, int count, NodeOrder order)
{
	for (int i = 0; i < count && order == ORDER_NAME; i++)
		nodes[i].hash = 0;
	qsort(nodes, count, sizeof(OrderedNode), compare_nodes);
}

/* All nodes are of the first wave; the shares of the others grow. */
static void
begin_by_callers(RolloutRow *r)
{
	r->first_share = share_of(r->plan.first_wave, ROUTE_ALL);
	r->share_step = share_of(r->plan.wave_step, ROUTE_ALL);
	r->waves = 1 + (ROUTE_ALL - r->first_share + r->share_step - 1) / r->share_step;
}

/* Does it take all at once, and wait for nothing? */
static bool
is_at_once(const Deployment *d, const RolloutRow *r, int count)
{
	return r->plan.strategy == STRATEGY_DIRECT &&
		   (d->kind != KIND_DEPLOY || r->max_parallel == 0 || count <= r->max_parallel);
}

RolloutRow *
wave_plan(const Deployment *d, char *environment, List *plans, int *waves)
{
	bool by_callers = may_go_by_callers(d, environment, plans);
	Strategy strategy = choose_strategy(d, environment, plans, by_callers);
	RolloutRow *r = palloc0(sizeof(RolloutRow));
	OrderedNode *nodes;
	Datum order_by;
	int count;

	for (int i = 0; i < list_length(plans); i++)
		waves[i] = 1;
	nodes = find_nodes(d, plans, &count);
	if (strategy == STRATEGY_DIRECT && count < 2)
		return NULL;
	r->plan = strategy_plan(strategy);
	order_by = read_settings(d, environment, r);
	if (is_at_once(d, r, count))
		return NULL;
	read_labels(d, plans, order_by, nodes, count);
	order_nodes(nodes, count, r->plan.order);
	r->waves = strategy_waves(&r->plan, count);
	r->bake_until = TIME_NULL;
	r->bake_left = NO_BAKE_LEFT;
	r->frozen_wave = -1;
	r->functions = functions_of(d, environment);
	r->is_changed = true;
	if (by_callers && strategy == STRATEGY_CANARY)
		begin_by_callers(r);
	else
		for (int i = 0; i < count; i++)
			waves[nodes[i].index] = strategy_wave(&r->plan, i, count);
	return r;
}

int *
wave_sizes(const RolloutRow *r, List *plans, const int *waves)
{
	int *sizes = palloc0(r->waves * sizeof(int));

	for (int i = 0; i < list_length(plans); i++)
		if (((NodePlan *) list_nth(plans, i))->outcome == NODE_RUNS)
			sizes[waves[i] - 1]++;
	return sizes;
}
