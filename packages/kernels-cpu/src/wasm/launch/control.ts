/**
 * The words of shared memory by which the threads of a team keep in step. In: a memory and the words' address. Out: a fresh start, or
 * a call to give up. The module's barrier reads and writes the same words.
 */

/**
 * Offsets in bytes, a cache line each: who spins on one is not disturbed by writes to another. A thread may still be on its way out of a
 * run's last barrier when the next run begins, so `aborted` names the run that is, and nobody resets `phase` or `sleeping`.
 */
export const controlWords = {
  phase: 0,
  arrived: 64,
  sleeping: 128,
  run: 192,
  aborted: 256,
  patience: 320,
  spins: 384,
  /** How much of what the threads take as they come is taken; 0 after each barrier. */
  taken: 448,
} as const;

/** Bytes that the words take. */
export const CONTROL_BYTES = 512;

/** What `patience` is after a thread gave up. */
export const GAVE_UP = -1;

const at = (name: keyof typeof controlWords): number => controlWords[name] / 4;

const wordsOf = (memory: WebAssembly.Memory, control: number): Int32Array =>
  new Int32Array(memory.buffer, control, CONTROL_BYTES / 4);

/** How long threads wait at a barrier. */
export interface Waiting {
  /** Turns before a thread sleeps; each takes about a nanosecond. */
  readonly spins: number;
  /** Seconds that a thread sleeps before it gives up; with 0 it sleeps until it is woken. */
  readonly patience: number;
}

/** Before a run, when no thread is at work. */
export function beginRun(
  memory: WebAssembly.Memory,
  control: number,
  { spins, patience }: Waiting,
): void {
  const words = wordsOf(memory, control);
  Atomics.add(words, at("run"), 1);
  Atomics.store(words, at("spins"), spins);
  Atomics.store(words, at("patience"), patience);
  Atomics.store(words, at("arrived"), 0);
  Atomics.store(words, at("taken"), 0);
}

/** Lets every thread trap at its next barrier, those that wait at one now. Returns false if somebody had done so before. */
export function abortTeam(memory: WebAssembly.Memory, control: number): boolean {
  const words = wordsOf(memory, control);
  const run = Atomics.load(words, at("run"));
  const first = Atomics.exchange(words, at("aborted"), run) !== run;
  Atomics.add(words, at("phase"), 1);
  Atomics.notify(words, at("phase"));
  return first;
}

/** Whether a thread has given up in this run. */
export function gaveUp(memory: WebAssembly.Memory, control: number): boolean {
  return Atomics.load(wordsOf(memory, control), at("patience")) === GAVE_UP;
}
