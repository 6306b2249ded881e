/*
 * signature.c
 *		What is signed, and the keys and signatures themselves: libcrypto's part.
 *
 * No SPI, no catalog, no lock.  Nothing is raised while an object of libcrypto exists, since only
 * the code that made it could free it.  libcrypto's error queue belongs to the whole process (the
 * server's TLS uses it too): it is empty before and after each call.
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/uuid.h"
#include "module/signature.h"

#define RSA_BITS_MIN 2048

const char *const signature_algorithms[] = { "ed25519", "rsa-pss-sha256" };

/*
 * The text that a signature is about.  It names one version of one module of one tenant, or an installer of it,
 * so that a signature is of no use for another; the names cannot contain line feeds.
 */
char *
signature_payload(const pg_uuid_t *tenant, const char *module, const char *version,
				  const uint8 *digest, bool is_installer)
{
	return psprintf("hotswap-%s-v1\n%s\n%s\n%s\n%s\n", is_installer ? "installer" : "module",
					uuid_text(tenant), module, version, digest_hex(digest));
}

/* Says why it failed, in libcrypto's words where it has some. */
static bool
signature_fail(SignatureKey *key, const char *otherwise)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	strlcpy(key->problem, reason ? reason : otherwise, sizeof(key->problem));
	return false;
}

/*
 * A public key is not encrypted; without this, libcrypto would ask for a password at the terminal.
 */
static int
no_password(char *buffer, int size, int rwflag, void *arg)
{
	(void) buffer;
	(void) size;
	(void) rwflag;
	(void) arg;
	return -1;
}

static EVP_PKEY *
signature_parse(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	return key;
}

/* Prepares a verification; false if the key does not go with the algorithm. */
static bool
begin_verify(EVP_MD_CTX *context, SignatureAlgorithm algorithm, EVP_PKEY *key)
{
	EVP_PKEY_CTX *parameters;

	if (algorithm == SIGNATURE_ED25519)
		return EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1;
	return EVP_DigestVerifyInit(context, &parameters, EVP_sha256(), NULL, key) == 1 &&
		   EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
		   EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_AUTO) == 1;
}

static bool
can_verify(SignatureAlgorithm algorithm, EVP_PKEY *key)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool result = context && begin_verify(context, algorithm, key);

	EVP_MD_CTX_free(context);
	return result;
}

/* Is the arithmetic of the key sound?  A libcrypto that cannot tell says -2. */
static bool
is_sound(EVP_PKEY *key)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	bool result = context && EVP_PKEY_public_check(context) != 0;

	EVP_PKEY_CTX_free(context);
	return result;
}

static bool
check_key(SignatureAlgorithm algorithm, EVP_PKEY *pkey, SignatureKey *key)
{
	int type = EVP_PKEY_base_id(pkey);
	bool is_rsa = type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS;

	if (algorithm == SIGNATURE_ED25519 ? type != EVP_PKEY_ED25519 : !is_rsa)
	{
		snprintf(key->problem, sizeof(key->problem), "it is of type %s", OBJ_nid2sn(type));
		return false;
	}
	if (is_rsa && EVP_PKEY_bits(pkey) < RSA_BITS_MIN)
	{
		snprintf(key->problem, sizeof(key->problem), "it has %d bits; at least %d are needed",
				 EVP_PKEY_bits(pkey), RSA_BITS_MIN);
		return false;
	}
	if (!is_sound(pkey))
		return signature_fail(key, "it is not sound");
	return can_verify(algorithm, pkey) || signature_fail(key, "it cannot be used");
}

/* Writes the key in its one PEM form. */
static bool
write_pem(EVP_PKEY *pkey, SignatureKey *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long length = 0;

	if (bio && PEM_write_bio_PUBKEY(bio, pkey) == 1)
		length = BIO_get_mem_data(bio, &data);
	if (length > 0 && length < SIGNATURE_PEM_LIMIT)
	{
		memcpy(key->pem, data, length);
		key->pem[length] = '\0';
	}
	BIO_free(bio);
	return (length > 0 && length < SIGNATURE_PEM_LIMIT) || signature_fail(key, "it is too large");
}

static bool
write_fingerprint(EVP_PKEY *pkey, SignatureKey *key)
{
	unsigned char *der = NULL;
	int length = i2d_PUBKEY(pkey, &der);
	bool done =
		length > 0 && EVP_Digest(der, length, key->fingerprint, NULL, EVP_sha256(), NULL) == 1;

	OPENSSL_free(der);
	return done || signature_fail(key, "it has no fingerprint");
}

/* Reads a public key in PEM form; false, and why, if it cannot be used with the algorithm. */
bool
signature_read_key(SignatureAlgorithm algorithm, const char *pem, SignatureKey *key)
{
	EVP_PKEY *pkey;
	bool done;

	ERR_clear_error();
	pkey = signature_parse(pem);
	if (pkey == NULL)
		done = signature_fail(key, "it cannot be read");
	else
		done =
			check_key(algorithm, pkey, key) && write_pem(pkey, key) && write_fingerprint(pkey, key);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return done;
}

/* Is it the key's signature of the payload? */
bool
signature_verify(SignatureAlgorithm algorithm, const char *pem, const char *payload,
				 const uint8 *signature, size_t length)
{
	EVP_MD_CTX *context;
	EVP_PKEY *pkey;
	bool verified;

	ERR_clear_error();
	context = EVP_MD_CTX_new();
	pkey = signature_parse(pem);
	verified = context && pkey && begin_verify(context, algorithm, pkey) &&
			   EVP_DigestVerify(context, signature, length, (const unsigned char *) payload,
								strlen(payload)) == 1;
	EVP_PKEY_free(pkey);
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return verified;
}
