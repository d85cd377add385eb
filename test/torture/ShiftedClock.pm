# Starts a test anew on another clock (shifted_clock.cpp), together with all that it starts: PERL5OPT=-MShiftedClock.
#
#   SHIFTED_CLOCK          the library
#   SHIFTED_CLOCK_AT       the moment that comes while the test runs, in seconds since 1970 ...
#   SHIFTED_CLOCK_DELAY_S  ... so long after its start
package ShiftedClock;

use strict;
use warnings;

unless (defined $ENV{SHIFTED_CLOCK_S})
{
	$ENV{SHIFTED_CLOCK_S} = $ENV{SHIFTED_CLOCK_AT} - $ENV{SHIFTED_CLOCK_DELAY_S} - time;
	$ENV{LD_PRELOAD} = $ENV{SHIFTED_CLOCK};
	exec $^X, (map { "-I$_" } @INC), $0, @ARGV or die "exec: $!";
}

1;
