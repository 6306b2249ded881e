/*
 * backoff.h
 *		When to try again, and which errors are worth it.
 */
#ifndef HOTSWAP_BACKOFF_H
#define HOTSWAP_BACKOFF_H

extern int64 backoff_delay(int attempt, int base_ms, int max_ms, double random);
extern int64 backoff_retry_delay(int attempt);
extern bool backoff_is_transient(int sqlerrcode);
extern bool backoff_is_listed(int sqlerrcode);
extern bool backoff_is_collision(const ErrorData *error);
extern bool backoff_is_shortage(int sqlerrcode);
extern bool backoff_is_outside(int sqlerrcode);

#endif /* HOTSWAP_BACKOFF_H */
