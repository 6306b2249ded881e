-- What the extension consists of, and what of it depends on something that is not part of it.
CREATE TEMP VIEW member AS
SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'hotswap');

-- With what stands inside them: rules of views, defaults, constraints, indexes, row types,
-- partitions.
CREATE TEMP VIEW inner_member AS
WITH RECURSIVE part AS (
	SELECT classid, objid FROM member
	UNION
	SELECT d.classid, d.objid FROM part p
	JOIN pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid
		AND d.deptype IN ('i', 'a', 'P', 'S')
) SELECT * FROM part;

-- What initdb made has OIDs below 16384.
CREATE TEMP VIEW foreign_dependency AS
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS object,
	pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) AS depends_on
FROM inner_member m JOIN pg_depend d USING (classid, objid)
WHERE d.refobjid >= 16384 AND (d.refclassid, d.refobjid)
	NOT IN (SELECT classid, objid FROM inner_member)
	AND (d.refclassid, d.refobjid)
		NOT IN (('pg_extension'::regclass,
			(SELECT oid FROM pg_extension WHERE extname = 'hotswap')),
		('pg_namespace'::regclass, (SELECT oid FROM pg_namespace WHERE nspname = 'hotswap')));
