/*
 * digest.c
 *		SHA-256 over a list of fields: each is preceded by its length (-1 for NULL) as eight bytes,
 *		most significant first, so that no two lists give the same input.
 *
 * The hash is the server's (OpenSSL's where the server was built with it).
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/digest.h"
#include "lib/stringinfo.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

static void
check(pg_cryptohash_ctx *ctx, int rc)
{
	if (rc < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(ctx));
}

pg_cryptohash_ctx *
digest_begin(void)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (ctx == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	check(ctx, pg_cryptohash_init(ctx));
	return ctx;
}

void
digest_int64(pg_cryptohash_ctx *ctx, int64 value)
{
	uint64 wire = pg_hton64((uint64) value);

	check(ctx, pg_cryptohash_update(ctx, (const uint8 *) &wire, sizeof(wire)));
}

void
digest_bytes(pg_cryptohash_ctx *ctx, const void *data, size_t length)
{
	digest_int64(ctx, data ? (int64) length : -1);
	if (data)
		check(ctx, pg_cryptohash_update(ctx, data, length));
}

/* Adds a string, or NULL. */
void
digest_field(pg_cryptohash_ctx *ctx, const char *field)
{
	digest_bytes(ctx, field, field ? strlen(field) : 0);
}

/* Writes DIGEST_LENGTH bytes and frees the context. */
void
digest_end(pg_cryptohash_ctx *ctx, uint8 *result)
{
	check(ctx, pg_cryptohash_final(ctx, result, DIGEST_LENGTH));
	pg_cryptohash_free(ctx);
}

/* The SHA-256 of the data alone. */
void
digest_plain(const void *data, size_t length, uint8 *result)
{
	pg_cryptohash_ctx *ctx = digest_begin();

	check(ctx, pg_cryptohash_update(ctx, data, length));
	digest_end(ctx, result);
}

char *
digest_hex(const uint8 *digest)
{
	char *hex = palloc(2 * DIGEST_LENGTH + 1);

	hex[hex_encode((const char *) digest, DIGEST_LENGTH, hex)] = '\0';
	return hex;
}

/* A digest out of its hex; false if it is none. */
bool
digest_parse(const char *hex, uint8 *result)
{
	if (strlen(hex) != 2 * DIGEST_LENGTH ||
		strspn(hex, "0123456789abcdefABCDEF") != 2 * DIGEST_LENGTH)
		return false;
	(void) hex_decode(hex, 2 * DIGEST_LENGTH, (char *) result);
	return true;
}

Datum
digest_datum(const uint8 *digest)
{
	bytea *value = palloc(VARHDRSZ + DIGEST_LENGTH);

	SET_VARSIZE(value, VARHDRSZ + DIGEST_LENGTH);
	memcpy(VARDATA(value), digest, DIGEST_LENGTH);
	return PointerGetDatum(value);
}

/* A digest out of a bytea; false, and zeros, if that has another length. */
bool
digest_read(Datum value, uint8 *result)
{
	bytea *bytes = DatumGetByteaPP(value);
	bool fits = VARSIZE_ANY_EXHDR(bytes) == DIGEST_LENGTH;

	if (fits)
		memcpy(result, VARDATA_ANY(bytes), DIGEST_LENGTH);
	else
		memset(result, 0, DIGEST_LENGTH);
	return fits;
}

/* The digest of an installer of a version: what module_version.install_digest holds. */
void
digest_installer(const uint8 *version, const char *installer, uint8 *result)
{
	pg_cryptohash_ctx *ctx = digest_begin();

	digest_bytes(ctx, version, DIGEST_LENGTH);
	digest_field(ctx, installer);
	digest_end(ctx, result);
}
