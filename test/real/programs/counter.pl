# counter.pl FILE PORT MEGABYTES: counts, ten times a second, into an open file; each connection to the port is sent the
# number.
use strict;
use IO::Select;
use IO::Socket::INET;
my ($file, $port, $megabytes) = @ARGV;
my $memory = 'memory! ' x ($megabytes << 17);
my $listener = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $port, Listen => 8, ReuseAddr => 1) or die $@;
my $readable = IO::Select->new($listener);
open my $out, '>', $file or die $!;
$out->autoflush(1);
# Longer than any test takes.
alarm 3600;
for (my $number = 1; ; $number++) {
	die unless substr($memory, ($number * 4096) % length $memory, 8) eq 'memory! ';
	print $out "$number\n";
	next unless $readable->can_read(0.1);
	my $client = $listener->accept or next;
	print $client "$number\n";
}
