/*
 * spread.h
 *		A number out of bytes that is the same on every server and for ever: FNV-1a, 64 bits, with the bits spread
 *		behind it by the first half of the finalizer of MurmurHash3, so that each of them counts.
 *
 * Knows no server.
 */
#ifndef HOTSWAP_SPREAD_H
#define HOTSWAP_SPREAD_H

#include <stddef.h>
#include <stdint.h>

#define SPREAD_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t
spread_bytes(uint64_t hash, const void *bytes, size_t length)
{
	const unsigned char *byte = bytes;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static inline uint64_t
spread_end(uint64_t hash)
{
	hash = (hash ^ (hash >> 33)) * UINT64_C(0xff51afd7ed558ccd);
	return hash ^ (hash >> 33);
}

#endif /* HOTSWAP_SPREAD_H */
