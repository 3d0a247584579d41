#!/bin/bash
# godwit show: parts of an image, and the picture of an address space.
. "$(dirname "$0")/../lib.sh"

saved() { # SUBJECT ARGS...
	become user
	launch "$SUBJECTS/$1" "$CTL" "${@:2}"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID" 2>/dev/null
}

lacks() {
	local re
	for re; do
		if grep -Eq -- "$re" cmd.out; then fail "it shows '$re'"; fi
	done
}

parts() {
	saved files_locked
	expect 0 "$GODWIT" show myckpt
	prints '^Memory' '^Files' '^Threads' '^Checkpoint'
	expect 0 "$GODWIT" show --memory myckpt
	prints '^Memory' 'libc\.so|files_locked'
	lacks '^Files' '^Threads' '^Checkpoint' 'rip'
	expect 0 "$GODWIT" show --files myckpt
	prints '^Files' 'fd'
	lacks '^Memory' '^Threads' '^Checkpoint'
	expect 0 "$GODWIT" show --threads --files myckpt
	prints '^Files' '^Threads'
	lacks '^Memory' '^Checkpoint'
	need python3
	expect 0 "$GODWIT" show --json --memory myckpt
	python3 -c '
import json, sys
keys = set(json.load(open("cmd.out")))
sys.exit("memory" not in keys or bool(keys & {"threads", "files"}))' || fail "other keys in JSON"
}

# A picture that is XML, in itself complete, with a rectangle for each mapping and filled
# rectangles that lie within theirs.
picture() { # SUBJECT ARGS...
	need python3
	saved "$@"
	expect 0 "$GODWIT" show --svg map.svg myckpt
	[[ ! -s cmd.out && ! -s cmd.err ]] || fail "it says something"
	expect 0 "$GODWIT" show --json --memory myckpt
	python3 - <<-'END' || fail "the picture is not right"
		import json, re, sys, xml.etree.ElementTree as xml
		text = open("map.svg").read()
		ns = "{http://www.w3.org/2000/svg}"
		root = xml.fromstring(text)
		mappings = json.load(open("cmd.out"))["memory"]["mappings"]
		rows = root.find(".//%sg[@id='mappings']" % ns).findall(ns + "g")
		assert root.tag == ns + "svg" and not re.search(r"(href|src|url\()", text), "it needs other files"
		assert len(rows) == len(mappings), (len(rows), len(mappings))
		height = float(root.get("viewBox").split()[3])
		for row, m in zip(rows, mappings):
		    bar, *filled = row.findall(ns + "rect")
		    where = "%x-%x " % (int(m["start"], 16), int(m["end"], 16))
		    assert bar.find(ns + "title").text.startswith(where), (where, bar.find(ns + "title").text)
		    x, y, w, h = (float(bar.get(k)) for k in ("x", "y", "width", "height"))
		    assert bool(filled) == bool(m["stored"]), where
		    for f in filled:
		        a, b, c, d = (float(f.get(k)) for k in ("x", "y", "width", "height"))
		        assert x - .1 <= a and a + c <= x + w + .1 and y - .1 <= b and b + d <= y + h + .1, where
		    if m["stored"] == int(m["end"], 16) - int(m["start"], 16):
		        assert sum(float(f.get("width")) * float(f.get("height")) for f in filled) >= 0.98 * w * h, where
		    assert y + h < height, "outside of the picture"
	END
	expect 0 "$GODWIT" show --svg - myckpt
	cmp cmd.out map.svg || fail "another picture on stdout"
}

refused() {
	saved mem_brk
	expect 2 "$GODWIT" show --svg
	expect 2 "$GODWIT" show --svg map.svg --json myckpt
	says 'nothing else'
	expect 1 "$GODWIT" show --svg none/map.svg myckpt
	says "cannot write to 'none/map.svg'"
	run bash -c '"$1" show --svg /dev/full myckpt' - "$GODWIT"
	[[ $RC == 1 ]] || fail "a full device: $RC"
	head -c 5000 myckpt >bad
	expect 5 "$GODWIT" show --svg map.svg bad
	[[ ! -e map.svg ]] || fail "a picture of nothing"
}

try show_parts parts
try picture_of_a_small_program picture mem_anon
try picture_of_a_sparse_program picture mem_sparse
try picture_of_many_mappings picture mem_many_maps
try picture_of_what_a_fork_leaves_out picture snapshot
try picture_is_refused refused
finish
