/*
 * diff.c
 *		The difference of two texts, line by line, in the unified form.
 *
 * The shortest list of edits is searched for as Myers does ("An O(ND) Difference Algorithm and Its
 * Variations", 1986), within limits: where more would be needed, all that is between the first and the last
 * difference is taken out and put in.
 */
#include "postgres.h"

#include "base/diff.h"
#include "common/hashfn.h"
#include "miscadmin.h"

#define LINES_LIMIT 1000000 /* of both texts */
#define EDITS_LIMIT \
	2000 /* their steps are kept: memory grows with the square, time with the lines */
#define CONTEXT_LINES 3

/* With its line feed, if it has one. */
typedef struct Line
{
	const char *start;
	int length;
	uint32 hash;
} Line;

typedef struct Side
{
	const char *text;
	Line *lines;
	int count;
	bool *edited; /* of each line: it is only on this side */
} Side;

typedef struct Comparison
{
	Side old_side;
	Side new_side;
} Comparison;

/* ---- lines ---- */

static int
count_lines(const char *text)
{
	int count = 0;

	for (const char *p = text; *p; count++)
	{
		const char *end = strchr(p, '\n');

		p = end ? end + 1 : p + strlen(p);
	}
	return count;
}

static void
split_lines(Side *side)
{
	const char *p = side->text;

	side->lines = palloc(Max(side->count, 1) * sizeof(Line));
	side->edited = palloc0(Max(side->count, 1) * sizeof(bool));
	for (int i = 0; i < side->count; i++)
	{
		const char *end = strchr(p, '\n');
		Line *line = &side->lines[i];

		line->start = p;
		line->length = end ? end + 1 - p : (int) strlen(p);
		line->hash = hash_bytes((const unsigned char *) p, line->length);
		p += line->length;
	}
}

static bool
is_equal(const Comparison *c, int x, int y)
{
	const Line *a = &c->old_side.lines[x];
	const Line *b = &c->new_side.lines[y];

	return a->hash == b->hash && a->length == b->length &&
		   memcmp(a->start, b->start, a->length) == 0;
}

/* ---- edits ---- */

/* Part of both sides: count lines from a place on. */
typedef struct Area
{
	int old_start;
	int new_start;
	int old_count;
	int new_count;
} Area;

/* Does the way to diagonal k with so many edits come by a line that is put in?  Else by one taken out. */
static bool
comes_by_insertion(const int *reached, int edits, int k)
{
	return k == -edits || (k != edits && reached[k - 1] < reached[k + 1]);
}

/* Goes as far along diagonal k as the lines are equal; returns how far in the old side. */
static int
follow(const Comparison *c, const Area *area, int x, int k)
{
	while (x < area->old_count && x - k < area->new_count &&
		   is_equal(c, area->old_start + x, area->new_start + x - k))
		x++;
	return x;
}

/* One more edit: how far one gets on each diagonal; true: at the end. */
static bool
extend(const Comparison *c, const Area *area, int *reached, int edits)
{
	for (int k = -edits; k <= edits; k += 2)
	{
		int x = edits == 0                            ? 0 :
				comes_by_insertion(reached, edits, k) ? reached[k + 1] :
														reached[k - 1] + 1;

		reached[k] = follow(c, area, x, k);
		if (reached[k] >= area->old_count && reached[k] - k >= area->new_count)
			return true;
	}
	return false;
}

/* Back from the end, by what was reached before each edit. */
static void
mark_edits(Comparison *c, const Area *area, int **history, int edits)
{
	int k = area->old_count - area->new_count;

	for (; edits > 0; edits--)
	{
		/* that of one edit less, from diagonal 1 - edits on */
		const int *reached = history[edits - 1] + edits - 1;
		bool insertion = comes_by_insertion(reached, edits, k);

		k += insertion ? 1 : -1;
		if (insertion)
			c->new_side.edited[area->new_start + reached[k] - k] = true;
		else
			c->old_side.edited[area->old_start + reached[k]] = true;
	}
}

/* Marks the fewest edits that lead from one side of the area to the other; false: there are too many. */
static bool
find_edits(Comparison *c, const Area *area)
{
	int limit = Min(area->old_count + area->new_count, EDITS_LIMIT);
	int *reached = (int *) palloc0((2 * limit + 3) * sizeof(int)) + limit + 1;
	int **history = palloc((limit + 1) * sizeof(int *));

	for (int edits = 0; edits <= limit; edits++)
	{
		CHECK_FOR_INTERRUPTS();
		if (extend(c, area, reached, edits))
		{
			mark_edits(c, area, history, edits);
			return true;
		}
		history[edits] = palloc((2 * edits + 1) * sizeof(int));
		memcpy(history[edits], reached - edits, (2 * edits + 1) * sizeof(int));
	}
	return false;
}

/* What is between the first and the last difference. */
static Area
changed_area(const Comparison *c)
{
	Area area = { 0, 0, c->old_side.count, c->new_side.count };

	while (area.old_count > 0 && area.new_count > 0 && is_equal(c, area.old_start, area.new_start))
	{
		area.old_start++;
		area.new_start++;
		area.old_count--;
		area.new_count--;
	}
	while (area.old_count > 0 && area.new_count > 0 &&
		   is_equal(c, area.old_start + area.old_count - 1, area.new_start + area.new_count - 1))
	{
		area.old_count--;
		area.new_count--;
	}
	return area;
}

static void
compare(Comparison *c)
{
	Area area = changed_area(c);

	if (find_edits(c, &area))
		return;
	memset(c->old_side.edited + area.old_start, true, area.old_count);
	memset(c->new_side.edited + area.new_start, true, area.new_count);
}

/* ---- the unified form ---- */

static void
put_line(StringInfo out, char sign, const Line *line)
{
	appendStringInfoChar(out, sign);
	appendBinaryStringInfo(out, line->start, line->length);
	if (line->start[line->length - 1] != '\n')
		appendStringInfoString(out, "\n\\ No newline at end of file\n");
}

/* Lines from 1; of none, the line before. */
static void
put_range(StringInfo out, char sign, int start, int count)
{
	appendStringInfo(out, " %c%d", sign, count == 0 ? start : start + 1);
	if (count != 1)
		appendStringInfo(out, ",%d", count);
}

/* An area of changes with the lines around it. */
static void
put_hunk(StringInfo out, const Comparison *c, const Area *area)
{
	int x = area->old_start;
	int y = area->new_start;
	int old_end = x + area->old_count;
	int new_end = y + area->new_count;

	appendStringInfoString(out, "@@");
	put_range(out, '-', x, area->old_count);
	put_range(out, '+', y, area->new_count);
	appendStringInfoString(out, " @@\n");
	while (x < old_end || y < new_end)
	{
		if (x < old_end && c->old_side.edited[x])
			put_line(out, '-', &c->old_side.lines[x++]);
		else if (y < new_end && c->new_side.edited[y])
			put_line(out, '+', &c->new_side.lines[y++]);
		else
		{
			put_line(out, ' ', &c->old_side.lines[x++]);
			y++;
		}
	}
}

/* Passes the next changes that belong together, and as many equal lines behind them as they are shown with. */
static bool
next_hunk(const Comparison *c, int *x, int *y, Area *area)
{
	const Side *a = &c->old_side;
	const Side *b = &c->new_side;
	int equal = 0;
	int before;

	while (*x < a->count && *y < b->count && !a->edited[*x] && !b->edited[*y])
	{
		(*x)++;
		(*y)++;
	}
	if (*x == a->count && *y == b->count)
		return false;
	before = Min(Min(*x, *y), CONTEXT_LINES);
	area->old_start = *x - before;
	area->new_start = *y - before;
	while ((*x < a->count || *y < b->count) && equal <= 2 * CONTEXT_LINES)
	{
		bool taken = *x < a->count && a->edited[*x];
		bool put = *y < b->count && b->edited[*y];

		equal = taken || put ? 0 : equal + 1;
		*x += taken || !put;
		*y += put || !taken;
	}
	before = Max(equal - CONTEXT_LINES, 0);
	area->old_count = *x - before - area->old_start;
	area->new_count = *y - before - area->new_start;
	return true;
}

void
diff_append(StringInfo out, const char *old_name, const char *old_text, const char *new_name,
			const char *new_text)
{
	Comparison c = { .old_side = { .text = old_text ? old_text : "" },
					 .new_side = { .text = new_text ? new_text : "" } };
	int x = 0;
	int y = 0;
	Area area;

	if (old_text == new_text || (old_text && new_text && strcmp(old_text, new_text) == 0))
		return;
	appendStringInfo(out, "--- %s\n+++ %s\n", old_text ? old_name : "/dev/null",
					 new_text ? new_name : "/dev/null");
	c.old_side.count = count_lines(c.old_side.text);
	c.new_side.count = count_lines(c.new_side.text);
	if ((int64) c.old_side.count + c.new_side.count > LINES_LIMIT)
	{
		appendStringInfo(out, "Texts of together more than %d lines are not compared.\n",
						 LINES_LIMIT);
		return;
	}
	split_lines(&c.old_side);
	split_lines(&c.new_side);
	compare(&c);
	while (next_hunk(&c, &x, &y, &area))
		put_hunk(out, &c, &area);
}
