-- Nobody may do anything until granted, whatever the installer's default privileges say. In an install
-- script this stands behind all functions and before all grants (see README.md), so that it holds for
-- everything that is forgotten.

REVOKE ALL ON ALL ROUTINES IN SCHEMA hotswap FROM PUBLIC;
SELECT hotswap.close_rights(NULL);
GRANT USAGE ON SCHEMA hotswap TO PUBLIC;
