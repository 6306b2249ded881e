/*
 * label.h
 *		The labels of an enum: as numbers in C, as text in the database.
 */
#ifndef HOTSWAP_LABEL_H
#define HOTSWAP_LABEL_H

extern int label_find(const char *label, const char *const *labels, int count);
extern int label_parse(const char *label, const char *const *labels, int count);

#endif /* HOTSWAP_LABEL_H */
