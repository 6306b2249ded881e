ALTER TABLE product ADD cents bigint;
UPDATE product SET cents = round(price * 100);
ALTER TABLE product ALTER cents SET NOT NULL, DROP price;
CREATE OR REPLACE FUNCTION price_of(product_id int) RETURNS text LANGUAGE sql STABLE SET search_path FROM CURRENT
	AS $$SELECT to_char(cents / 100.0, 'FM999999990.00') || ' EUR' FROM product WHERE id = product_id$$;
-- verify
SELECT price_of(41) = '42.00 EUR';
SELECT count(*) = 0 FROM product WHERE cents <= 0;
