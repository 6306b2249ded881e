/*
 * tap.h
 *		What programs that test C without a server say, for prove.
 */
#ifndef HOTSWAP_TEST_TAP_H
#define HOTSWAP_TEST_TAP_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_count;
static int tap_failures;

static bool __attribute__((format(printf, 2, 3))) ok(bool good, const char *format, ...)
{
	va_list words;

	printf("%sok %d - ", good ? "" : "not ", ++tap_count);
	va_start(words, format);
	vprintf(format, words);
	va_end(words);
	printf("\n");
	tap_failures += !good;
	return good;
}

static inline void
is_int(int got, int expected, const char *name)
{
	if (!ok(got == expected, "%s", name))
		printf("# got %d, expected %d\n", got, expected);
}

static inline void
is_near(double got, double expected, double tolerance, const char *name)
{
	if (!ok(fabs(got - expected) <= tolerance, "%s", name))
		printf("# got %.9g, expected %.9g\n", got, expected);
}

static int
tap_end(void)
{
	printf("1..%d\n", tap_count);
	return tap_failures > 0;
}

#endif /* HOTSWAP_TEST_TAP_H */
