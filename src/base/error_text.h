/*
 * error_text.h
 *		Errors as they are kept.
 */
#ifndef HOTSWAP_ERROR_TEXT_H
#define HOTSWAP_ERROR_TEXT_H

extern char *error_text_cut(char *text);
extern ErrorData *error_copy(void);

#endif /* HOTSWAP_ERROR_TEXT_H */
