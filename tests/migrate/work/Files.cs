using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using System.Threading;

/* Writes and reads files, with threads and garbage; args[0] rounds, or 0: until the file
 * stop is there. */
class Files {
	static ulong Mix(ulong n) {
		n ^= n << 13;
		n ^= n >> 7;
		return n ^ n << 17;
	}

	static ulong Many(ulong n) {
		for (int k = 0; k < 20000; k++) n = Mix(n);
		return n;
	}

	static int Main(string[] args) {
		int rounds = int.Parse(args[0]), i = 0;
		ulong sum = 1, threads = 0, all = 0;
		var map = new Dictionary<string, ulong>();

		while (rounds > 0 ? i < rounds : !File.Exists("stop")) {
			int id = ++i;
			ulong part = 0;
			var t = new Thread(() => part = Many((ulong)id));
			t.Start();
			string name = "clr." + i % 16;
			var text = new StringBuilder();
			for (int k = 0; k < 200; k++) {
				sum = Mix(sum + (ulong)k);
				text.Append(sum).Append('\n');
			}
			File.AppendAllText(name, text.ToString());
			foreach (string line in File.ReadAllLines(name))
				map[line.Substring(0, Math.Min(4, line.Length))] = ulong.Parse(line);
			if (i % 64 > 47) File.Delete(name);
			t.Join();
			threads += part % 1000;
			if (i % 50 == 0) Console.WriteLine(i);
		}
		foreach (var e in map) all += e.Value;
		Console.WriteLine("result " + i + " " + sum + " " + threads + " " + map.Count + " " + all);
		return 0;
	}
}
