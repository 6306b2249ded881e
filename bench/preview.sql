-- The path to a leaf of the tree.
\set version random(5001, 10000)
SELECT count(*) FROM hotswap.preview('tree', :version::text, 'development');
