// BullMQ on node: one worker process with 100 jobs at once.
// Speaks the protocol of bench/README.md without the Python kit.
import { openSync, writeSync, closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Queue, QueueEvents, Worker } from "bullmq";

const [verb, text] = process.argv.slice(2);
const options = JSON.parse(text ?? "{}");
const url = new URL(process.env.BENCH_URL);
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const marks = openSync(process.env.BENCH_MARKS, "a");
const KEEP_NONE = { removeOnComplete: true };
// A job that is removed at its end cannot be waited for: it may end before the waiting begins.
const KEEP_SOME = { removeOnComplete: 1000 };

function mark(index) {
  const record = Buffer.alloc(24);
  record.writeBigInt64LE(process.hrtime.bigint(), 0);
  record.writeBigInt64LE(BigInt(index), 8);
  record.writeBigInt64LE(BigInt(process.pid), 16);
  writeSync(marks, record);
}

async function hold() {
  mark(-2);
  try {
    closeSync(openSync(process.env.BENCH_MARKS + ".held", "wx"));
  } catch {
    return;
  }
  await sleep(600_000);
}

const jobs = {
  noop: async () => mark(-1),
  wait: async () => { mark(-1); await sleep(1); },
  stamp: async (job) => { mark(job.data.index); return job.data.index; },
  hold,
};

async function enqueue() {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  const began = process.hrtime.bigint();
  if (options.bulk) {
    for (let begin = 0; begin < options.count; begin += 1000) {
      const count = Math.min(1000, options.count - begin);
      await queue.addBulk(Array.from({ length: count }, () => ({ name: options.job, data: {}, opts: KEEP_NONE })));
    }
  } else {
    for (let n = 0; n < options.count; n += 1) await queue.add(options.job, {}, KEEP_NONE);
  }
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  await queue.close();
  return { seconds };
}

async function latency() {
  const queue = new Queue("bench", { connection });
  const events = new QueueEvents("bench", { connection });
  await events.waitUntilReady();
  const submitted_ns = [], result_ns = [];
  for (let index = 0; index < options.pauses_ms.length; index += 1) {
    await sleep(options.pauses_ms[index]);
    const began = process.hrtime.bigint();
    const job = await queue.add("stamp", { index }, KEEP_SOME);
    await job.waitUntilFinished(events, 30_000);
    result_ns.push(Number(process.hrtime.bigint() - began));
    submitted_ns.push(Number(began));
  }
  await queue.close();
  await events.close();
  return { submitted_ns, result_ns };
}

function work() {
  const tuned = options.defaults ? {} : { concurrency: options.concurrency ?? 100 };
  const worker = new Worker("bench", (job) => jobs[job.name](job), { connection, ...tuned });
  worker.on("error", (error) => console.error(error.message));
  return new Promise(() => {});
}

const answer = await { enqueue, latency, work }[verb]();
console.log(JSON.stringify(answer));
process.exit(0);
