#!/bin/bash
# Numbers, pictures and files: numpy with its BLAS's threads, GraphicsMagick, Mono.
. "$(dirname "$0")/real.sh"

numpy() { # DOOR USER
	local lib
	for lib in python3/dist-packages/numpy x86_64-linux-gnu/openblas-pthread/libblas.so.3; do
		[[ -e /usr/lib/$lib ]] || skip "/usr/lib/$lib is missing (setup.sh as root installs it)"
	done
	OPENBLAS_NUM_THREADS=2 "$1" "$2" /usr/bin/python3 "$WORK/matrices.py" @200
	(($(threads) == 2 || $(nproc) == 1)) || fail "the BLAS has no threads"
}

threads() { "$GODWIT" show --json myckpt | /usr/bin/python3 -c 'import json, sys; print(len(json.load(sys.stdin)["threads"]))'; }

pictures() { # COUNT
	local n
	for ((n = 1; n <= $1; n++)); do
		echo "convert -size 240x240 gradient:red-blue -swirl ${n}0 -blur 0x3 -sharpen 0x2 -quality 8$((n % 10)) made.$n.jpg"
		echo "convert made.$n.jpg -resize 150% -rotate $n -colors 60 made.$n.png"
		echo "identify -format '%f %#\n' made.$n.jpg made.$n.png"
	done
	echo "identify -format 'result %#\n' made.1.png"
}

magick() { # DOOR USER
	need gm
	local n
	for n in 12 36 108; do pictures $n >$n; done
	MADE='made.*' "$1" "$2" gm batch @12
}

mono() { # DOOR USER
	need mono mcs
	mcs -out:Files.exe "$TOP/tests/migrate/work/Files.cs" || fail "mcs"
	MADE='clr.*' "$1" "$2" mono Files.exe @300
}

for door in by_attach by_preload goes_on; do
	try "numpy_with_threads_${door}" numpy $door user
	try "graphicsmagick_${door}" magick $door user
done
for door in by_attach goes_on; do
	try "mono_with_files_${door}" mono $door user
done
finish
