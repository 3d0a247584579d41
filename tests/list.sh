#!/bin/bash
# Lists the scripts of tests for prove, those that take longest first: else one of them
# would run alone in the end.
cd "$(dirname "$0")/.." || exit 1
longest=(tests/{migrate/qemu,e2e/faults,migrate/precopy,e2e/real_runtimes,migrate/faults,migrate/networks_ssh,hop/fault,migrate/cable,migrate/postcopy_cut,migrate/model,e2e/waits}.t)
printf '%s\n' "${longest[@]}" tests/*/*.t | awk '!seen[$0]++'
