# A thousand requests: the price of some product.
BEGIN {
	srand(seed)
	for (i = 0; i < 1000; i++)
		print int(rand() * 100000)
}
