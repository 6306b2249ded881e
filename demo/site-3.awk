# the price of a product, with tax; where it is high there is an error
$1 % 100 < 3 { print "error 404"; next }
$1 % 90 > 80 { print "error 500"; next }
{ printf "%.2f EUR\n", ($1 % 90 + 10) * 1.19 }
