import java.io.File;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

/** A pool, garbage, maps and timed waits; args[0] jobs, or 0: until the file stop is there. */
public class Pool {
    static long mix(long n) {
        n ^= n << 13;
        n ^= n >>> 7;
        return n ^ n << 17;
    }

    static final AtomicLong total = new AtomicLong();
    static final ConcurrentHashMap<Integer, Long> map = new ConcurrentHashMap<>();

    static void job(int id) {
        long n = id + 1;
        StringBuilder garbage = new StringBuilder();
        for (int k = 0; k < 20000; k++) {
            n = mix(n);
            if (k % 100 == 0) garbage.append(n);
        }
        map.merge((int) Math.floorMod(n, 1009L), (long) garbage.length(), Long::sum);
        total.addAndGet(n % 1000);
    }

    public static void main(String[] args) throws Exception {
        int jobs = Integer.parseInt(args[0]), i = 0;
        File stop = new File("stop");
        ExecutorService pool = Executors.newFixedThreadPool(6);
        Semaphore room = new Semaphore(24);
        for (; jobs > 0 ? i < jobs : i % 50 != 0 || !stop.exists(); i++) {
            final int id = i;
            room.acquire();
            pool.submit(() -> {
                job(id);
                if (id % 50 == 0) synchronized (map) { map.wait(2); }
                room.release();
                return null;
            });
            if (i % 200 == 0) System.out.println(i);
        }
        pool.shutdown();
        if (!pool.awaitTermination(60, TimeUnit.SECONDS)) System.exit(1);
        long lengths = map.values().stream().mapToLong(Long::longValue).sum();
        System.out.println("result " + i + " " + total + " " + lengths + " " + map.size());
    }
}
