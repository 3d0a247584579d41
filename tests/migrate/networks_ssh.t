#!/bin/bash
# Two hosts, real programs, by ssh, and a real sshd: see networks.sh.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/networks.sh"

all_by ssh
finish
