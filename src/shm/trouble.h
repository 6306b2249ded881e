/*
 * trouble.h
 *		What the dispatcher of a database could not do, for health() and explain().
 */
#ifndef HOTSWAP_TROUBLE_H
#define HOTSWAP_TROUBLE_H

#include "shm/shmem.h"

extern void trouble_note(TroubleKind kind, const pg_uuid_t *deployment, const char *message);
extern void trouble_over(TroubleKind kind, const pg_uuid_t *deployment);
extern void trouble_all_over(void);
extern Trouble *trouble_list(int *count);

#endif /* HOTSWAP_TROUBLE_H */
