# A bash script without a child: arrays, arithmetic, here-strings, traps.
steps=$1
declare -A seen
trap 'trapped=1' USR1
n=1
echo ready
for ((i = 1; i <= steps; i++)); do
	n=$(((n * 48271) % 2147483647))
	seen[$((n % 997))]=$((${seen[$((n % 997))]:-0} + i))
	if ((i % 4000 == 0)); then
		read -r a b <<<"$i $n"
		echo "$a $b ${#seen[@]}"
	fi
done
kill -USR1 $BASHPID # $$ is what it was, and may be nobody now
sum=0
for k in "${!seen[@]}"; do ((sum += k * seen[$k] % 1009)); done
echo "result $sum ${#seen[@]} $trapped"
