/*
 * word.h
 *		The words of an enum: as numbers in C, as text in the database.
 */
#ifndef HOTSWAP_WORD_H
#define HOTSWAP_WORD_H

extern int word_find(const char *word, const char *const *words, int count);
extern int word_parse(const char *word, const char *const *words, int count);

#endif /* HOTSWAP_WORD_H */
