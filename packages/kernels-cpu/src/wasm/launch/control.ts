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
} as const;

/** Bytes that the words take. */
export const CONTROL_BYTES = 384;

/** What `patience` is after a thread gave up. */
export const GAVE_UP = -1;

function word(memory: WebAssembly.Memory, control: number, name: keyof typeof controlWords) {
  return { words: new Int32Array(memory.buffer), at: (control + controlWords[name]) / 4 };
}

/**
 * Before a run, when no thread is at work. A thread that sleeps at a barrier gives up after `patience` seconds; with 0 it waits until
 * it is told to.
 */
export function beginRun(memory: WebAssembly.Memory, control: number, patience: number): void {
  const run = word(memory, control, "run");
  Atomics.add(run.words, run.at, 1);
  for (const [name, value] of [["arrived", 0] as const, ["patience", patience] as const]) {
    const { words, at } = word(memory, control, name);
    Atomics.store(words, at, value);
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
