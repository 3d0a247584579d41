#!/bin/bash
# Two hosts, real programs, by TLS: see networks.sh.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/networks.sh"

all_by tls
finish
