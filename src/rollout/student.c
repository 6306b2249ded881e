/*
 * student.c
 *		Student's t distribution, by the regularised incomplete beta function.
 *
 * The function is a continued fraction (DLMF 8.17.22), evaluated by Lentz's method as Thompson and
 * Barnett modified it; log gamma is the C library's.  Knows no server.
 */
#include "rollout/student.h"

#include <math.h>

/* Instead of a zero, by which the method would divide. */
#define TINY 1e-300

static double
not_zero(double x)
{
	return fabs(x) < TINY ? TINY : x;
}

/* The continued fraction of I_x(a, b), which converges fast where x < (a + 1) / (a + b + 2). */
static double
beta_fraction(double x, double a, double b)
{
	double c = 1;
	double d = 1 / not_zero(1 - (a + b) * x / (a + 1));
	double result = d;

	for (int m = 1; m <= 500; m++)
	{
		double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
		double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));

		d = 1 / not_zero(1 + even * d);
		c = not_zero(1 + even / c);
		result *= d * c;
		d = 1 / not_zero(1 + odd * d);
		c = not_zero(1 + odd / c);
		result *= d * c;
		if (fabs(d * c - 1) < 1e-15)
			break;
	}
	return result;
}

/* I_x(a, b); y is 1 - x, which has lost its digits by the time that it is computed from x near 1. */
static double
incomplete_beta(double x, double y, double a, double b)
{
	double front;

	if (x <= 0 || y <= 0)
		return x <= 0 ? 0 : 1;
	front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y));
	if (x < (a + 1) / (a + b + 2))
		return front * beta_fraction(x, a, b) / a;
	return 1 - front * beta_fraction(y, b, a) / b;
}

/* The probability of more than t, with so many degrees of freedom. */
double
student_tail(double t, double freedom)
{
	double square = t * t;
	double half = incomplete_beta(freedom / (freedom + square), square / (freedom + square),
								  freedom / 2, 0.5) /
				  2;

	return t > 0 ? half : 1 - half;
}

/* The t that is exceeded with this probability, of 0.5 or less. */
double
student_quantile(double tail, double freedom)
{
	double low = 0;
	double high = 1;

	while (student_tail(high, freedom) > tail && high < 1e15)
	{
		low = high;
		high *= 2;
	}
	for (int i = 0; i < 100 && high - low > 1e-12 * high; i++)
	{
		double middle = (low + high) / 2;

		if (student_tail(middle, freedom) > tail)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}
