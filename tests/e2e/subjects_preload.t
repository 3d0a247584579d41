#!/bin/bash
. "$(dirname "$0")/rounds.sh"
each_subject round_preload_goes_on goes_on_after_kill_12 preload
each_subject round_preload_restart survives_kill_12_and_myrestart preload
finish
