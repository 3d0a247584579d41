#!/bin/bash
# Two hosts, real programs, by TLS: see networks.sh.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/networks.sh"

all_by tls
try clr_with_its_counters_is_refused_with_the_remedy clr_with_its_counters
finish
