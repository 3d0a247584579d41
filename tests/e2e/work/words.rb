# Hashes, strings, big numbers, a thread; prints as it goes.
$stdout.sync = true
steps = ARGV[0].to_i
count, n, big = Hash.new(0), 12345, 1
puts "ready"
queue = Queue.new
adder = Thread.new { s = 0; while (v = queue.pop) != :end do s += v end; s }
(1..steps).each do |i|
  n = (n * 1103515245 + 12345) % 2147483648
  w = (n % 65536).to_s(16).gsub(/[0-9]/) { |d| (d.ord + 55).chr }
  count[w] += 1
  big = big * n % (2**521 - 1)
  queue << n if i % 10 == 0
  puts "#{i} #{w} #{big.to_s(36)[0, 12]}" if i % 5000 == 0
end
queue << :end
puts "result #{adder.value} #{big.to_s(36)[0, 20]} #{count.size}"
