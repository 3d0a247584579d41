"""Writes a C program of COUNT functions, the last of them `result`: generated.py COUNT."""
import sys

print("typedef unsigned long u;")
for i in range(int(sys.argv[1])):
    print(f"""
struct s{i} {{ u a[{i % 7 + 3}]; struct s{i} *next; double d; }};
static u leaf{i}(u x, u y) {{ for (u k = 0; k < {i % 9 + 4}; k++) x = (x * {i * 2 + 1}u + (y >> (k & 31))) ^ k; return x; }}
u f{i}(struct s{i} *p, u n)
{{
	u sum = 0;
	for (; p; p = p->next)
		for (u k = 0; k < sizeof(p->a) / sizeof(*p->a); k++)
			switch (p->a[k] % {i % 5 + 5}) {{
			case 0: sum += leaf{i}(p->a[k], n); break;
			case 1: sum ^= p->a[k] << 3; break;
			case 2: p->d = p->d * 1.5 + (double)sum; break;
			case 3: if (n) sum += f{i}(p->next, n - 1); break;
			default: sum += p->d > 2.5 ? k : n;
			}}
	return sum;
}}""")
print("u result(void) { return f0(0, 0); }")
