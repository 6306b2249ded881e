# the price of a product, with cents; of 3 in 100 there is none
$1 % 100 < 3 { print "error 404"; next }
{ printf "%.2f EUR\n", $1 % 90 + 10 }
