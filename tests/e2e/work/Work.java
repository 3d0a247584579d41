import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

/**
 * A dozen threads, a pool, garbage, monitors and timed waits; the sum must come out right.
 * With a second argument, jobs that do not count keep it at work from the middle on until that
 * file exists.
 */
public class Work {
    static long mix(long n) {
        n ^= n << 13;
        n ^= n >>> 7;
        return n ^ n << 17;
    }

    static long work(long n, StringBuilder garbage) {
        for (int k = 0; k < 20000; k++) {
            n = mix(n);
            if (k % 100 == 0) garbage.append(n);
        }
        return n;
    }

    static void workUntil(Path file, ExecutorService pool, Semaphore room) throws Exception {
        while (!Files.exists(file)) {
            room.acquire();
            pool.submit(() -> {
                work(1, new StringBuilder());
                room.release();
            });
        }
    }

    public static void main(String[] args) throws Exception {
        int jobs = Integer.parseInt(args[0]);
        ExecutorService pool = Executors.newFixedThreadPool(12);
        ConcurrentHashMap<Integer, Long> map = new ConcurrentHashMap<>();
        AtomicLong total = new AtomicLong();
        Object monitor = new Object();
        List<Future<Long>> futures = new ArrayList<>();
        System.out.println("ready");
        Semaphore room = new Semaphore(48);
        for (int i = 0; i < jobs; i++) {
            final int id = i;
            if (i == jobs / 2 && args.length > 1) workUntil(Path.of(args[1]), pool, room);
            room.acquire();
            futures.add(pool.submit(() -> {
                StringBuilder garbage = new StringBuilder();
                long n = work(id + 1, garbage);
                map.merge((int) Math.floorMod(n, 1009L), (long) garbage.length(), Long::sum);
                total.addAndGet(n % 1000);
                if (id % 10 == 0) synchronized (monitor) { monitor.wait(2); }
                room.release();
                return n;
            }));
            if (i % 200 == 0) System.out.println(i);
        }
        long sum = 0;
        for (Future<Long> f : futures) sum += f.get();
        pool.shutdown();
        pool.awaitTermination(10, TimeUnit.SECONDS);
        long lengths = map.values().stream().mapToLong(Long::longValue).sum();
        System.out.println("result " + sum + " " + total + " " + lengths + " " + map.size());
    }
}
