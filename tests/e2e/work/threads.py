"""Threads with locks, queues, timeouts and sleeps; the sum must come out right."""
import queue
import sys
import threading
import time

rounds = int(sys.argv[1])
jobs, results = queue.Queue(20), queue.Queue()
lock, total = threading.RLock(), 0


def work():
    global total
    while True:
        n = jobs.get()
        if n is None:
            return
        v = sum(i * i % 7 for i in range(n % 900))
        with lock:
            with lock:
                total += v
        if n % 50 == 0:
            time.sleep(0.002)
        results.put((n, v))


def tick():
    while not done.wait(0.01):
        pass


done = threading.Event()
threads = [threading.Thread(target=work) for _ in range(8)] + [threading.Thread(target=tick)]
for t in threads:
    t.start()
print("ready", flush=True)
for n in range(rounds):
    jobs.put(n)
    if n % 1000 == 0:
        print(n, flush=True)
for _ in range(8):
    jobs.put(None)
for t in threads[:8]:
    t.join()
done.set()
threads[8].join()
seen = sorted(results.get_nowait() for _ in range(rounds))
assert [n for n, _ in seen] == list(range(rounds))
print("result", total, sum(v for _, v in seen))
