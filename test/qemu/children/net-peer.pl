# The other end of a guest's network. Sends numbered UDP packets at a steady rate and holds one TCP stream, both to the
# guest's echo port, until its standard input ends. Then it prints one line of JSON: what was lost and how long the gaps
# were. The guest says in each packet how many it has got.
#
#   perl net-peer.pl ADDRESS PACKETS_PER_SECOND
use strict;
use warnings;
use Errno qw(EAGAIN EINPROGRESS);
use Fcntl;
use Socket;
use Time::HiRes qw(time);

my ($address, $rate) = @ARGV;
my $to = sockaddr_in(7, inet_aton($address));
socket(my $udp, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
setsockopt($udp, SOL_SOCKET, SO_RCVBUF, 8 << 20);
setsockopt($udp, SOL_SOCKET, 33, pack('i', 8 << 20)); # SO_RCVBUFFORCE
connect($udp, $to) or die "connect: $!";
socket(my $tcp, AF_INET, SOCK_STREAM, 0) or die "socket: $!";
connect($tcp, sockaddr_in(7, inet_aton($address))) or die "connect: $!";
for my $socket ($udp, $tcp, \*STDIN) {
  fcntl($socket, F_SETFL, fcntl($socket, F_GETFL, 0) | O_NONBLOCK);
}
my %seen;
my ($sent, $doubled, $last, $gap) = (0, 0, time, 0);
my ($before, $arrived) = (undef, 0);
my ($out, $in, $wrong, $number, $line) = ('', '', 0, 0, 0);
my ($lastIn, $tcpGap) = (time, 0);
my $start = time;
my $end;
$| = 1;
print "READY\n";
until (defined $end && time > $end) {
  my $now = time;
  while (!defined $end && $sent < ($now - $start) * $rate) {
    send($udp, pack('NN', $sent, 0) . 'x' x 56, 0);
    $sent++;
  }
  while (defined recv($udp, my $packet, 2048, 0)) {
    my ($n, $count) = unpack('NV', $packet);
    $before //= $count - 1;
    $arrived = $count - $before if $count - $before > $arrived;
    $doubled++ if $seen{$n}++;
    my $at = time;
    $gap = $at - $last if $at - $last > $gap;
    $last = $at;
  }
  # A line for each number; what comes back must be the same lines.
  $out .= sprintf("%d\n", $number++) while !defined $end && $number < ($now - $start) * 1000;
  my $wrote = syswrite($tcp, $out);
  substr($out, 0, $wrote) = '' if defined $wrote;
  while (my $read = sysread($tcp, my $bytes, 65536)) {
    $in .= $bytes;
    my $at = time;
    $tcpGap = $at - $lastIn if $at - $lastIn > $tcpGap;
    $lastIn = $at;
  }
  while ($in =~ s/^(.*)\n//) { $wrong++ if $1 ne $line++; }
  my $read = sysread(STDIN, my $none, 1);
  $end //= time + 1 if defined $read && $read == 0;
  select(undef, undef, undef, 0.001);
}
my @lost = grep { !$seen{$_} } 0 .. $sent - 1;
printf qq({"sent":%d,"lost":[%s],"arrived":%d,"doubled":%d,"gapMs":%.1f,"tcp":{"lines":%d,"wrong":%d,"gapMs":%.1f}}\n),
  $sent, join(',', @lost), $arrived, $doubled, $gap * 1000, $line, $wrong, $tcpGap * 1000;
