// Goroutines, channels, timers, maps, garbage: the sum must come out right.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

func mix(n uint64) uint64 {
	n ^= n << 13
	n ^= n >> 7
	return n ^ n<<17
}

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	idle, _ := strconv.Atoi(os.Args[2])
	var wg, sleeping sync.WaitGroup
	in, out := make(chan uint64, 10), make(chan uint64, 10)
	stop := make(chan bool)
	for i := 0; i < idle; i++ { // most goroutines sleep or wait
		sleeping.Add(1)
		go func(i int) {
			defer sleeping.Done()
			t := time.NewTicker(time.Duration(20+i%50) * time.Millisecond)
			for {
				select {
				case <-t.C:
				case <-stop:
					return
				}
			}
		}(i)
	}
	for i := 0; i < 8; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range in {
				m := map[uint64][]byte{}
				x := n + 1
				for k := 0; k < 3000; k++ {
					x = mix(x)
					m[x%101] = append(m[x%101], byte(x))
				}
				var sum uint64
				for k, v := range m {
					for _, b := range v {
						sum += k * uint64(b)
					}
				}
				out <- sum
			}
		}()
	}
	fmt.Println("ready")
	go func() {
		for i := 0; i < rounds; i++ {
			in <- uint64(i)
		}
		close(in)
		wg.Wait()
		close(out)
	}()
	var total uint64
	n := 0
	for v := range out {
		total += v
		if n++; n%500 == 0 {
			fmt.Println(n)
		}
	}
	close(stop)
	sleeping.Wait()
	fmt.Println("result", total, n)
}
