/*
 * The t distribution against the tables, with more digits than they print.
 */
#include "rollout/student.h"
#include "tap.h"

static const double freedoms[] = { 1, 2, 3, 5, 8, 10, 20, 30, 48, 120 };

static const struct
{
	double tail;
	double quantile[10];
} table[] = {
	{ 0.1,
	  { 3.077683537175, 1.885618083164, 1.637744353696, 1.475884048824, 1.396815309744,
		1.372183641110, 1.325340706985, 1.310415025391, 1.299438878671, 1.288646233656 } },
	{ 0.05,
	  { 6.313751514675, 2.919985580354, 2.353363434802, 2.015048373333, 1.859548037531,
		1.812461122812, 1.724718242921, 1.697260886594, 1.677224196124, 1.657650899355 } },
	{ 0.025,
	  { 12.70620473617, 4.302652729749, 3.182446305284, 2.570581835636, 2.306004135204,
		2.228138851986, 2.085963447266, 2.042272456301, 2.010634757624, 1.979930405082 } },
	{ 0.005,
	  { 63.65674116287, 9.924843200918, 5.840909309733, 4.032142983555, 3.355387331333,
		3.169272672617, 2.845339709786, 2.749995653567, 2.682204026950, 2.617421145107 } },
	{ 0.0005,
	  { 636.6192487687, 31.59905457644, 12.92397863669, 6.868826625881, 5.041305433373,
		4.586893858703, 3.849516274931, 3.645958635042, 3.505067970470, 3.373453768563 } },
};

int
main(void)
{
	char name[100];

	for (int i = 0; i < 5; i++)
		for (int j = 0; j < 10; j++)
		{
			double quantile = table[i].quantile[j];

			snprintf(name, sizeof(name), "t(%g; %g)", freedoms[j], table[i].tail);
			is_near(student_quantile(table[i].tail, freedoms[j]), quantile, 1e-9 * quantile, name);
			snprintf(name, sizeof(name), "the tail of t(%g) = %g", freedoms[j], quantile);
			is_near(student_tail(quantile, freedoms[j]), table[i].tail, 1e-9 * table[i].tail, name);
		}

	/* far out, near the middle, and on the other side */
	is_near(student_tail(8, 18) / 1.2253602661096e-7, 1, 1e-9, "a tail of one in ten million");
	is_near(student_tail(30, 48) / 4.7341073346811e-33, 1, 1e-6, "one that nobody will meet");
	is_near(student_tail(0.5, 3), 0.32572398242408, 1e-12, "a third of it");
	is_near(student_tail(1e-9, 7), 0.5, 1e-9, "the middle");
	is_near(student_tail(0, 7), 0.5, 1e-15, "zero");
	is_near(student_tail(-3, 18), 1 - 0.0038427060701572, 1e-12, "less than the others");
	is_near(student_tail(INFINITY, 18), 0, 0, "nothing is beyond infinity");
	is_near(student_quantile(0.5, 4), 0, 1e-9, "half of it is above zero");
	return tap_end();
}
