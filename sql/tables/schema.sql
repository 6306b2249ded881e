-- The script makes the schema itself: if somebody else already owns one of this name, the
-- installation fails instead of putting a control plane into foreign hands.
--
-- The tables have no foreign keys: pg_restore with several jobs would load a table before the one it
-- refers to, and on the way of every request they would lock and look up rows that hotswap's functions
-- have just checked. What is referred to is never deleted, except with its tenant; an installation of
-- which a part is missing is told by core/completeness.c.

CREATE SCHEMA hotswap;
COMMENT ON SCHEMA hotswap IS 'hotswap: deployment control plane';
