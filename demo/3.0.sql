UPDATE product SET cents = cents / 100;
-- verify
SELECT price_of(41) = '42.00 EUR';
