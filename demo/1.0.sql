CREATE TABLE product (id int PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);
INSERT INTO product SELECT i, 'product ' || i, i % 100 + 1 FROM generate_series(1, 200000) i;
CREATE FUNCTION price_of(product_id int) RETURNS text LANGUAGE sql STABLE SET search_path FROM CURRENT
	AS $$SELECT price || ' EUR' FROM product WHERE id = product_id$$;
-- verify
SELECT price_of(41) = '42 EUR';
