#!/usr/bin/perl
# Holds a listening socket and starts hubs on it, one at a time, as systemd's socket activation does (sd_listen_fds(3)):
# connections that come while there is no hub wait in the kernel.
#
#   perl holder.pl PORT COMMAND [ARGUMENT…]
#
# Each line of the standard input starts the command once more. It says `holding`, `pid N` of each start, and `ended CODE`.
use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();

# Descriptors up to the third survive an exec.
BEGIN { $^F = 3 }
$| = 1;

my ($port, @command) = @ARGV;
my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1024, ReuseAddr => 1)
    or die "port $port can't be listened on: $!\n";
print "holding\n";

$SIG{CHLD} = sub {
    while (waitpid(-1, POSIX::WNOHANG()) > 0) {
        print 'ended ', ($? & 127 ? 'by signal' : $? >> 8), "\n";
    }
};
while (<STDIN>) {
    my $pid = fork() // die "no process: $!\n";
    if ($pid == 0) {
        POSIX::dup2(fileno($socket), 3);
        @ENV{qw(LISTEN_PID LISTEN_FDS)} = ($$, 1);
        exec @command or die "$command[0] can't be started: $!\n";
    }
    print "pid $pid\n";
}
