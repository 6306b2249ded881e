/*
 * examination.h
 *		What was found in the scripts of a version, kept with them.
 */
#ifndef HOTSWAP_EXAMINATION_H
#define HOTSWAP_EXAMINATION_H

#include "module/version.h"
#include "nodes/pg_list.h"

/* Only what is found; what may not be in a script is refused; errors in bodies are looked for, too. */
typedef enum Examination
{
	EXAMINE_ONLY,
	EXAMINE_REFUSE,
	EXAMINE_BODIES
} Examination;

extern List *examine_scripts(const Version *v, Examination how);

/* As it is kept. */
extern char *examination_text(List *findings);

/* Inside a scope. */
extern List *examination_read(const char *text);
extern void examination_keep(const pg_uuid_t *tenant, const char *module, const char *version);
extern void examination_renew(const pg_uuid_t *tenant, const char *module, const char *version);

#endif /* HOTSWAP_EXAMINATION_H */
