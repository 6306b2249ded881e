/*
 * token.h
 *		Tokens: numbers that only grow.
 */
#ifndef HOTSWAP_TOKEN_H
#define HOTSWAP_TOKEN_H

extern Oid token_sequence(void);
extern int64 token_refill(Oid sequence);
extern int64 token_next(void);

#endif /* HOTSWAP_TOKEN_H */
