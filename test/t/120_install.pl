# Traps laid before CREATE EXTENSION, and what DROP EXTENSION leaves.
use strict;
use warnings;
use Test::More skip_all => 'being written';
