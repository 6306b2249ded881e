/*
 * requirement.c
 *		What a version asks of the other modules of a node: "auth" (it runs something of it), "auth >= 12" (it
 *		runs 12, or what builds on it), "!legacy" and "!legacy >= 3" (it does not).
 *
 * A requirement is stored in one form, so that two that mean the same have the same digest.  What it names
 * need not be there when the version is published: a node is asked, when it is to run the version.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "core/requirement.h"

#define REQUIREMENT_LIMIT (MODULE_LIMIT + VERSION_LIMIT + 8) /* characters */

static char *
skip_blanks(char *p)
{
	return p + strspn(p, " \t");
}

/* Cuts blanks off the end. */
static char *
trim(char *text)
{
	int length = strlen(text);

	while (length > 0 && strchr(" \t", text[length - 1]))
		text[--length] = '\0';
	return text;
}

/* Reads a requirement in any form; NULL, and what is wrong with it. */
Requirement *
requirement_parse(const char *text, const char **problem)
{
	Requirement *r = palloc0(sizeof(Requirement));
	char *copy = skip_blanks(pstrdup(text));
	char *relation;

	r->is_conflict = *copy == '!';
	r->module = skip_blanks(copy + (r->is_conflict ? 1 : 0));
	relation = r->module + strcspn(r->module, " \t<>=!");
	*problem = NULL;
	if (*skip_blanks(relation) != '\0')
	{
		char *operator= skip_blanks(relation);

		if (strncmp(operator, ">=", 2) != 0)
			*problem = "After the module there may be \">=\" and a version.";
		else
			r->version = trim(skip_blanks(operator+ 2));
		*relation = '\0';
	}
	if (*problem == NULL && !arg_is_module(r->module))
		*problem = "It does not begin with the name of a module.";
	if (*problem == NULL && r->version && !arg_is_version(r->version))
		*problem = "It does not end with the name of a version.";
	return *problem ? NULL : r;
}

/* The form in which it is stored. */
static char *
requirement_text(const Requirement *r)
{
	return psprintf("%s%s%s%s", r->is_conflict ? "!" : "", r->module, r->version ? " >= " : "",
					r->version ? r->version : "");
}

/* What a version asks for, as it is stored. */
List *
requirement_list(Datum array)
{
	List *texts = db_text_list(array);
	List *requirements = NIL;
	ListCell *cell;

	foreach (cell, texts)
	{
		const char *problem;
		Requirement *r = requirement_parse(lfirst(cell), &problem);

		if (r == NULL)
			elog(ERROR, "invalid requirement \"%s\": %s", (char *) lfirst(cell), problem);
		requirements = lappend(requirements, r);
	}
	return requirements;
}

/* The names of the modules in requirements in their stored form. */
List *
requirement_modules(List *requirements)
{
	List *modules = NIL;
	ListCell *cell;

	foreach (cell, requirements)
	{
		const char *problem;

		modules = lappend(modules, requirement_parse(lfirst(cell), &problem)->module);
	}
	return arg_sort_names(modules);
}

/* The argument "requires" of a version of a module: in their stored form, sorted; NIL for NULL. */
List *
requirement_arguments(FunctionCallInfo fcinfo, int n, const char *module)
{
	List *given = arg_names(fcinfo, n, "requires", REQUIREMENT_LIMIT);
	List *texts = NIL;
	ListCell *cell;

	foreach (cell, given)
	{
		const char *problem;
		Requirement *r = requirement_parse(lfirst(cell), &problem);

		if (r && strcmp(r->module, module) == 0)
			problem = "A version cannot ask for its own module.";
		if (problem)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid value for \"requires\": \"%s\"", (char *) lfirst(cell)),
							errdetail_internal("%s", problem),
							errhint("Write \"module\", \"module >= version\", or \"!\" and one of"
									" these.")));
		texts = lappend(texts, requirement_text(r));
	}
	return arg_sort_names(texts);
}
