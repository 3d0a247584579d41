// Timers, promises, buffers, hashes, worker threads' pool (crypto, fs) and a JIT.
const crypto = require('crypto');
const fs = require('fs');
const steps = +process.argv[2];
let hash = crypto.createHash('sha256').update('start').digest();
let ticks = 0;
const timer = setInterval(() => ticks++, 5);
const pbkdf = (s) => new Promise((ok, bad) =>
  crypto.pbkdf2(s, 'salt', 300, 32, 'sha256', (e, k) => (e ? bad(e) : ok(k))));
async function main() {
  console.log('ready');
  const kept = [];
  for (let i = 0; i < steps; i++) {
    const [a, b] = await Promise.all([pbkdf(hash), pbkdf('x' + i)]);
    hash = crypto.createHash('sha256').update(a).update(b).digest();
    kept.push({ i, text: hash.toString('hex') });
    if (i % 50 === 0) {
      await new Promise((ok) => setTimeout(ok, 2));
      await fs.promises.readFile('/etc/passwd');
      console.log(i, hash.toString('hex').slice(0, 16));
    }
  }
  clearInterval(timer);
  const all = crypto.createHash('sha256').update(kept.map((k) => k.text).join()).digest('hex');
  console.log('result', all, kept.length, ticks > 0);
}
main();
