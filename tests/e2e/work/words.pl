# Hashes, regular expressions, sort and string work; prints as it goes.
use strict;
$| = 1;
my ($steps) = @ARGV;
my (%count, $n, $text) = ();
$n = 12345;
print "ready\n";
for my $i (1 .. $steps) {
    $n = ($n * 1103515245 + 12345) % 2147483648;
    my $w = sprintf("%x", $n % 65536);
    $w =~ s/([0-9])/chr(ord($1) + 55)/ge;
    $count{$w}++;
    $text .= substr($w, 0, 2) if $i % 7 == 0;
    if ($i % 2000 == 0) {
        my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
        print "$i $top[0] $count{$top[0]} ", scalar(@top), "\n";
    }
}
print "result ", length($text), " ", unpack("%32C*", $text), " ", scalar(keys %count), "\n";
