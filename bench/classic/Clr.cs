// The CLR program of the classical comparison: computes, and reads and writes a file.
//
//     mono Clr.exe PATH
//
// says "ready" in the file PATH, then goes on with lines in PATH.data, which it writes,
// reads again and compares, until there is a file PATH.stop; says in PATH.done whether all
// is as it must be.
using System;
using System.Collections.Generic;
using System.IO;

class Clr {
	const int Lines = 64;

	static string Line(int n) {
		return n + " " + (ulong)n * 2654435761UL % 1000003UL;
	}

	static int Main(string[] args) {
		string path = args[0];
		var seen = new Dictionary<int, string>();
		bool ok = true;
		using (var f = new FileStream(path + ".data", FileMode.Create, FileAccess.ReadWrite)) {
			var w = new StreamWriter(f);
			var r = new StreamReader(f);
			File.WriteAllText(path, "ready\n");
			for (int n = 0; !File.Exists(path + ".stop"); n += Lines) {
				f.SetLength(0);
				f.Position = 0;
				for (int i = n; i < n + Lines; i++) {
					seen[i % 50000] = Line(i);
					w.WriteLine(Line(i));
				}
				w.Flush();
				f.Position = 0;
				r.DiscardBufferedData();
				for (int i = n; i < n + Lines; i++)
					ok = ok && r.ReadLine() == Line(i) && seen[i % 50000] == Line(i);
			}
		}
		File.WriteAllText(path + ".done", ok ? "ok\n" : "wrong\n");
		return ok ? 0 : 1;
	}
}
