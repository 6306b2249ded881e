# Three thousand requests: the price of some product.
BEGIN {
	srand(seed)
	for (i = 0; i < 3000; i++)
		print int(rand() * 100000)
}
