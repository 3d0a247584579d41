#!/bin/bash
. "$(dirname "$0")/rounds.sh"
each_subject round_uncut passes_uncut none
finish
