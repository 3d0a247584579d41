// Threads of std that talk by channels, share a map behind a lock, and wait by condition;
// prints as it goes.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

const WORKERS: u64 = 6;

fn mix(mut n: u64) -> u64 {
    n ^= n << 13;
    n ^= n >> 7;
    n ^ n << 17
}

fn count(text: u64, map: &Mutex<HashMap<String, u64>>) -> u64 {
    let mut n = text + 1;
    for _ in 0..300 {
        n = mix(n);
        if n % 16 == 0 {
            *map.lock().unwrap().entry(format!("{:x}", n % 4096)).or_insert(0) += text;
        }
    }
    n
}

fn main() {
    let steps: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let map = Arc::new(Mutex::new(HashMap::new()));
    let (result, results) = sync_channel(40);
    let ended = Arc::new((Mutex::new(0), Condvar::new()));
    let ticks = Arc::new(AtomicU64::new(0));
    let mut jobs = Vec::new();
    let mut threads = Vec::new();

    for _ in 0..WORKERS {
        let (job, work) = channel::<u64>();
        let (map, result, ended) = (map.clone(), result.clone(), ended.clone());
        jobs.push(job);
        threads.push(thread::spawn(move || {
            for text in work {
                result.send((text, count(text, &map))).unwrap();
            }
            *ended.0.lock().unwrap() += 1;
            ended.1.notify_all();
        }));
    }
    drop(result);
    let beat = ticks.clone();
    thread::spawn(move || loop {
        thread::sleep(Duration::from_millis(3));
        beat.fetch_add(1, Ordering::Relaxed);
    });
    println!("ready");
    let (mut sum, mut sent) = (0u64, 0);
    while sent < steps {
        for job in &jobs {
            job.send(sent).unwrap();
            sent += 1;
        }
        for _ in 0..WORKERS {
            let (text, n) = results.recv().unwrap();
            sum = sum.wrapping_add(mix(n ^ text));
        }
        if sent % 3000 == 0 {
            println!("{} {:x}", sent, sum);
        }
    }
    jobs.clear();
    let mut n = ended.0.lock().unwrap();
    while *n < WORKERS {
        n = ended.1.wait(n).unwrap();
    }
    for t in threads {
        t.join().unwrap();
    }
    let all = map.lock().unwrap().iter().fold(0u64, |s, (k, v)| {
        s.wrapping_add(v.wrapping_mul(u64::from_str_radix(k, 16).unwrap()))
    });
    // The beat goes on, however often the thread's sleep was cut.
    let before = ticks.load(Ordering::Relaxed);
    while ticks.load(Ordering::Relaxed) == before {
        thread::yield_now();
    }
    println!("result {} {:x} {:x}", sent, sum, all);
}
