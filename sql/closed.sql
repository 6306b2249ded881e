-- Nobody may call anything until granted. In an install script this stands behind all functions and
-- before all grants (see README.md), so that it holds for every function that is forgotten.

REVOKE ALL ON ALL ROUTINES IN SCHEMA hotswap FROM PUBLIC;
