-- The script makes the schema itself: if somebody else already owns one of this name, the
-- installation fails instead of putting a control plane into foreign hands.

CREATE SCHEMA hotswap;
COMMENT ON SCHEMA hotswap IS 'hotswap: deployment control plane';
GRANT USAGE ON SCHEMA hotswap TO PUBLIC;
