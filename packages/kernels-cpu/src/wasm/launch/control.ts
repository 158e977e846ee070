/**
 * The words of shared memory by which the threads of a team keep in step. In: a memory and the words' address. Out: a fresh start, or
 * a call to give up. The module's barrier reads and writes the same words.
 */

/** Offsets in bytes, a cache line each: who spins on one is not disturbed by writes to another. */
export const controlWords = { phase: 0, arrived: 64, sleeping: 128, aborted: 192 } as const;

/** Bytes that the words take. */
export const CONTROL_BYTES = 256;

function word(memory: WebAssembly.Memory, control: number, name: keyof typeof controlWords) {
  return { words: new Int32Array(memory.buffer), at: (control + controlWords[name]) / 4 };
}

/** Before a run, when no thread is at work: nobody has arrived, sleeps or has failed. */
export function resetControl(memory: WebAssembly.Memory, control: number): void {
  for (const name of ["arrived", "sleeping", "aborted"] as const) {
    const { words, at } = word(memory, control, name);
    Atomics.store(words, at, 0);
  }
}

/** Lets every thread trap at its next barrier, those that wait at one now. Returns false if somebody had done so before. */
export function abortTeam(memory: WebAssembly.Memory, control: number): boolean {
  const aborted = word(memory, control, "aborted");
  const first = Atomics.exchange(aborted.words, aborted.at, 1) === 0;
  const phase = word(memory, control, "phase");
  Atomics.add(phase.words, phase.at, 1);
  Atomics.notify(phase.words, phase.at);
  return first;
}
