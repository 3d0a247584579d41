# shellcheck shell=sh disable=SC2034
# What each app prints, with @ for the host's own name: expect APP client|server.
# From the table of the course's programs; sourced by the tests.
nums() { seq "$1" "$2" "$3"; }
expect()
{
	case "$1.$2" in
	app1.client) printf 'Hostname: @\nFoo: Entry\n' ;;
	app1.server) printf 'Hostname: @\nFoo: Exit\n' ;;
	app2.*) printf 'Hostname: @\nA = 10\n' ;;
	app3.client) for a in 1 2 3; do printf 'Hostname: @\nBar: Value of A = %d\n' $a; done ;;
	app3.server)
		for a in 4 5; do printf 'Hostname: @\nBar: Value of A = %d\n' $a; done
		for a in 5 4 3 2 1; do printf 'Hostname: @\nBar: Exit Value of A = %d\n' $a; done ;;
	app4.client) printf 'Hostname: @\nFoo: Entry\nBar: Entry\n' ;;
	app4.server) printf 'Hostname: @\nBar: Exit\nFoo: Exit\n' ;;
	app5.*) echo 'Hostname: @'; nums 0 1 9 ;;
	app6.client) printf 'Hostname: @\n'; for f in '' 1 2 3 4 5; do echo "Foo$f: Entry"; done ;;
	app6.server) for f in 5 4 3 2 1; do echo "Foo$f: Exit"; done; printf 'Hostname: @\nFoo: Exit\n' ;;
	app7.client) echo 'Hostname: @'; nums 0 1 9 ;;
	app7.server) echo 'Hostname: @'; nums 9 -1 0 ;;
	app8.client) printf 'Hostname: @\n10 1 2 3 4\n' ;;
	app8.server) printf 'Hostname: @\n11 2 3 4 5 6 7 8\n' ;;
	app9.client)
		printf 'Hostname: @\na = 0, arg = 0\nb = 1, arg = 40\nc = 2, arg = 120\n'
		printf 'd = 3, arg = 240\ne = 4, arg = 400\nf = 5, arg = 600\n' ;;
	app9.server)
		printf 'f = 6, arg = 600\ne = 5, arg = 400\nd = 4, arg = 240\n'
		printf 'c = 3, arg = 120\nb = 2, arg = 40\na = 1, arg = 0\nHostname: @\n' ;;
	app10.client) printf 'Hostname: @\na = 10\n' ;;
	app10.server) printf 'Hostname: @\na = 100\ndefault a = 1000\n' ;;
	app11.client) printf 'Hostname: @\na = 1, own address right\n' ;;
	app11.server) printf 'Hostname: @\na = 2, own address right\n' ;;
	app12.client) echo 'Hostname: @'; nums 0 10 240 ;;
	app12.server) echo 'Hostname: @'; nums 250 10 490; nums 0 1 24 ;;
	ant4.*) printf 'Hostname: @\na = 10, p same, b same\n' ;;
	ant5.client) printf 'Hostname: @\na = 20\nb = 20\nc = 21\n' ;;
	ant5.server) printf 'c = 22\nHostname: @\na = 30\n' ;;
	esac
	echo 'Main: Exit'
}
ALL_APPS='app1 app2 app3 app4 app5 app6 app7 app8 app9 app10 app11 app12 ant4 ant5'
