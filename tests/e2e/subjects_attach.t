#!/bin/bash
. "$(dirname "$0")/rounds.sh"
each_subject round_attach_goes_on goes_on_after_attach attach
each_subject round_attach_restart survives_attach_and_restart attach
finish
