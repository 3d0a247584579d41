# A folder as the archive that Linux boots with (cpio newc), on standard output: cpio
# itself may be missing.
use strict;
use warnings;
use Fcntl ':mode';

chdir $ARGV[0] or die "$ARGV[0]: $!";
my $ino = 0;

sub put {
	my ($name, $mode, $data, $major, $minor) = @_;
	$ino++;
	printf '070701' . '%08x' x 13, $ino, $mode, 0, 0, 1, 0, length $data, 0, 0, $major // 0,
		$minor // 0, 1 + length $name, 0;
	print $name, "\0" x (1 + (4 - (110 + length($name) + 1) % 4) % 4), $data,
		"\0" x ((4 - length($data) % 4) % 4);
}

sub walk {
	my ($dir) = @_;
	for my $path (sort glob("$dir/* $dir/.c*")) {
		my @s = lstat $path;
		my $name = substr $path, 2;
		if (S_ISDIR($s[2])) {
			put($name, $s[2], '');
			walk($path);
			next;
		}
		open my $f, '<', $path or die "$path: $!";
		binmode $f;
		local $/;
		put($name, $s[2], <$f>);
	}
}

binmode STDOUT;
walk('.');
put('dev/console', 020600, '', 5, 1);
put('dev/null', 020666, '', 1, 3);
put('TRAILER!!!', 0, '');
