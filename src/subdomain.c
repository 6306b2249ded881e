/*
 * subdomain.c
 *		Subdomains of tenants, and those that none can have.
 */
#include "postgres.h"

#include "db.h"
#include "subdomain.h"

static DbStatement insert_reserved = DB_STATEMENT0(
	"INSERT INTO hotswap.reserved_subdomain (name) SELECT pg_catalog.unnest('{www, api, admin, app, cdn, ftp,"
	" mail, smtp, pop, imap, webmail, ns, ns1, ns2, dns, status, help, support, docs, blog, forum, shop,"
	" store, assets, static, images, img, files, downloads, dev, staging, test, qa, demo, sandbox}'::text[])"
	" ON CONFLICT DO NOTHING");

/* Inside a scope: the names that are reserved in every installation to begin with. */
void
subdomain_install(void)
{
	(void) db_run(&insert_reserved, NULL, NULL);
}
