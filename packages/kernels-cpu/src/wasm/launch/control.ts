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

function word(memory: WebAssembly.Memory, control: number, name: keyof typeof controlWords) {
  return { words: new Int32Array(memory.buffer), at: (control + controlWords[name]) / 4 };
}

/** How long threads wait at a barrier. */
export interface Waiting {
  /** Turns before a thread sleeps; each takes about a nanosecond. */
  readonly spins: number;
  /** Seconds that a thread sleeps before it gives up; with 0 it sleeps until it is woken. */
  readonly patience: number;
}

/** Before a run, when no thread is at work. */
export function beginRun(memory: WebAssembly.Memory, control: number, waiting: Waiting): void {
  const run = word(memory, control, "run");
  Atomics.add(run.words, run.at, 1);
  const values = { ...waiting, arrived: 0, taken: 0 };
  for (const name of ["spins", "patience", "arrived", "taken"] as const) {
    const { words, at } = word(memory, control, name);
    Atomics.store(words, at, values[name]);
  }
}

/** Lets every thread trap at its next barrier, those that wait at one now. Returns false if somebody had done so before. */
export function abortTeam(memory: WebAssembly.Memory, control: number): boolean {
  const run = word(memory, control, "run");
  const current = Atomics.load(run.words, run.at);
  const aborted = word(memory, control, "aborted");
  const first = Atomics.exchange(aborted.words, aborted.at, current) !== current;
  const phase = word(memory, control, "phase");
  Atomics.add(phase.words, phase.at, 1);
  Atomics.notify(phase.words, phase.at);
  return first;
}

/** Whether a thread has given up in this run. */
export function gaveUp(memory: WebAssembly.Memory, control: number): boolean {
  const { words, at } = word(memory, control, "patience");
  return Atomics.load(words, at) === GAVE_UP;
}
