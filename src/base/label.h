/*
 * label.h
 *		The words of an enum: as numbers in C, as text in the database.
 */
#ifndef HOTSWAP_LABEL_H
#define HOTSWAP_LABEL_H

extern int word_find(const char *word, const char *const *words, int count);
extern int word_parse(const char *word, const char *const *words, int count);

#endif /* HOTSWAP_LABEL_H */
