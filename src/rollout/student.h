/*
 * student.h
 *		Student's t distribution.
 */
#ifndef HOTSWAP_STUDENT_H
#define HOTSWAP_STUDENT_H

extern double student_tail(double t, double freedom);
extern double student_quantile(double tail, double freedom);

#endif /* HOTSWAP_STUDENT_H */
