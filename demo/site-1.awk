# the price of a product; of 3 in 100 there is none
$1 % 100 < 3 { print "error 404"; next }
{ print $1 % 90 + 10, "EUR" }
