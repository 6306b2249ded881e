/*
 * init.h
 *		Shared memory at the start of the server.
 */
#ifndef HOTSWAP_INIT_H
#define HOTSWAP_INIT_H

extern void shm_init(void);

#endif /* HOTSWAP_INIT_H */
