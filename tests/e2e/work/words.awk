# Arrays and strings; prints as it goes.
BEGIN {
	steps = ARGV[1]
	print "ready"
	n = 12345
	for (i = 1; i <= steps; i++) {
		n = (n * 1103515 + 12345) % 2147483
		count[sprintf("%x", n % 5000)]++
		if (i % 20000 == 0) {
			print i, n, length(count)
			fflush()
		}
	}
	print "result", length(count), n
}
