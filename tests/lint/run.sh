#!/bin/bash
# make lint: format, include direction, cppcheck, shellcheck, man pages, sizes.
# A tool that is missing is named and left out; with GODWIT_MUST_RUN=1 it is an error.
cd "$(dirname "$0")/../.." || exit 1
failed=0

have() {
	command -v "$1" >/dev/null && return 0
	echo "lint: $1 is not installed: left out"
	[[ -z ${GODWIT_MUST_RUN-} ]] || failed=1
	return 1
}

part() { # NAME CMD...
	local name=$1
	shift
	if "$@"; then echo "lint: $name: good"; else echo "lint: $name: BAD"; failed=1; fi
}

files() { # PATTERN...: ours, without the build
	local args=() p
	for p; do args+=(-o -name "$p"); done
	find . -path ./build -prune -o -path ./.git -prune -o -type f \( "${args[@]:1}" \) -print | sort
}

mapfile -t c < <(files '*.c' '*.h' '*.cc')
mapfile -t sh < <({ files '*.sh' '*.t'; echo .ci/run; } | while read -r f; do
	[[ -f $f ]] && head -n 1 "$f" | grep -Eq '^#!.*sh|shellcheck shell' && echo "$f"
done)
mapfile -t py < <(files '*.py')
mapfile -t man < <(files '*.[1-8]')

have clang-format && part format clang-format --dry-run -Werror "${c[@]}"
part 'include direction' tests/lint/includes.sh
have shellcheck && part shellcheck shellcheck -S warning -x -P SCRIPTDIR -e SC1091,SC2317,SC2119,SC2120 "${sh[@]}"
have cppcheck && part cppcheck timeout 300 cppcheck --quiet -j2 --error-exitcode=1 --std=c11 \
	--enable=warning,portability --inline-suppr --suppress=missingInclude \
	--suppress=unknownMacro --suppress=comparePointers --max-configs=4 -Isrc -Iinclude -D__x86_64__ src
((${#man[@]} == 0)) || { have mandoc && part 'man pages' mandoc -T lint -W warning "${man[@]}"; }

long_files() {
	local f n bad=0
	while read -r n f; do
		[[ $f == total || $n -le 600 ]] || { echo "$f has $n lines: at most 600"; bad=1; }
	done < <(printf '%s\n' "${c[@]}" "${sh[@]}" "${py[@]}" | xargs wc -l)
	n=$(wc -l <Makefile)
	((n < 250)) || { echo "Makefile has $n lines: less than 250"; bad=1; }
	return $bad
}
part 'length of files' long_files
exit $failed
