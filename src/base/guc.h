/*
 * guc.h
 *		Settings.  Each variable has the unit of its GUC.
 */
#ifndef HOTSWAP_GUC_H
#define HOTSWAP_GUC_H

extern int hotswap_max_executors;         /* per database */
extern int hotswap_max_tenant_executors;  /* per database; 0: no limit */
extern int hotswap_min_executors;         /* per database, kept warm */
extern int hotswap_executor_idle_timeout; /* ms */
extern int hotswap_lock_timeout;          /* ms, of a task's statements */
extern int hotswap_statement_timeout;     /* ms, of a whole script */
extern int hotswap_cancel_grace;          /* ms */
extern int hotswap_retry_base;            /* ms */
extern int hotswap_retry_max_delay;       /* ms */
extern int hotswap_retry_limit;           /* attempts */
extern char *hotswap_retry_sqlstates;     /* as in the setting */
extern int hotswap_batch_size;            /* deployments a dispatcher transaction */
extern int hotswap_max_waiters;           /* 0: no limit */
extern int hotswap_audit_retention;       /* minutes */
extern int hotswap_deployment_retention;  /* minutes */
extern int hotswap_idempotency_ttl;       /* s */
extern int hotswap_log_level;             /* elog level of ended deployments */
extern bool hotswap_superuser_nodes;      /* may be registered */
extern char *hotswap_notify_channel;      /* empty: no NOTIFY */
extern char *hotswap_tenant;              /* uuid as text, or empty */
extern char *hotswap_route_key;           /* empty: none */
extern char *hotswap_route;               /* as in the setting; empty: nothing is asked for */
extern char *hotswap_pin;                 /* see route/pin.c; empty: nothing was handed over */

/* between the elements of hotswap.retry_sqlstates */
#define SQLSTATE_SEPARATORS ", \t\n"
/* between those of hotswap.route */
#define ROUTE_SEPARATORS SQLSTATE_SEPARATORS

extern void guc_init(void);
extern void guc_push(const char *name, const char *value);

#endif /* HOTSWAP_GUC_H */
