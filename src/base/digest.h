/*
 * digest.h
 *		SHA-256 over a list of fields, so that no two lists give the same bytes.
 */
#ifndef HOTSWAP_DIGEST_H
#define HOTSWAP_DIGEST_H

#include "common/cryptohash.h"

#define DIGEST_LENGTH 32

extern pg_cryptohash_ctx *digest_begin(void);
extern void digest_bytes(pg_cryptohash_ctx *ctx, const void *data, size_t length);
extern void digest_field(pg_cryptohash_ctx *ctx, const char *field);
extern void digest_int64(pg_cryptohash_ctx *ctx, int64 value);
extern void digest_end(pg_cryptohash_ctx *ctx, uint8 *result);
extern void digest_plain(const void *data, size_t length, uint8 *result);
extern char *digest_hex(const uint8 *digest);
extern bool digest_parse(const char *hex, uint8 *result);
extern Datum digest_datum(const uint8 *digest);
extern bool digest_read(Datum value, uint8 *result);
extern void digest_installer(const uint8 *version, const char *installer, uint8 *result);

#endif /* HOTSWAP_DIGEST_H */
