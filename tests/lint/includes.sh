#!/bin/bash
# The include direction (docs/ARCHITECTURE.md): a folder of src/ may include itself
# and what stands right of an arrow, however far:
#   cli, preload -> migrate, run -> checkpoint, restart -> code -> state, track
#   -> remote, image, wire
#   -> arch, proc -> base;      thread -> wire, arch, base
cd "$(dirname "$0")/../.." || exit 1

declare -A level=([base]=0 [arch]=1 [proc]=1 [remote]=2 [image]=2 [wire]=2 [state]=3 [track]=3
	[code]=4 [checkpoint]=5 [restart]=5 [migrate]=6 [run]=6 [cli]=7 [preload]=7)

allowed() { # FROM TO
	[[ $1 == "$2" ]] && return 0
	[[ $1 == thread ]] && { [[ $2 == @(wire|arch|base) ]]; return; }
	[[ -n ${level[$1]-} && -n ${level[$2]-} ]] && ((level[$2] < level[$1]))
}

bad=0
while IFS=: read -r file line text; do
	from=${file#src/}
	from=${from%%/*}
	to=${text#*\"}
	to=${to%%\"*}
	if [[ $to != */* ]]; then
		# Public headers of include/ have no folder; anything else is written from src/.
		[[ -e include/$to ]] && continue
		echo "$file:$line: include \"$to\" is not written from src/"
		bad=1
	elif ! allowed "$from" "${to%%/*}"; then
		echo "$file:$line: $from must not include ${to%%/*} (\"$to\")"
		bad=1
	fi
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' src --include='*.[chS]')
exit $bad
