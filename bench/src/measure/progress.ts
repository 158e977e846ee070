/**
 * Where a run of the bench stands. In: how many steps the cases have, and each step as it begins. Out: on a terminal one line that
 * updates, else a line for each case; with the time left, once there is something to tell it by.
 */
import type { ProgressStream } from "@millrace/trainer";
import { formatDuration } from "@millrace/trainer";

/** Told before each step of a case: what it is, and how many of the case's steps are left, this one among them. */
export type Watch = (what: string, left: number) => void;

export class Progress {
  readonly #stream: ProgressStream;
  readonly #steps: readonly number[];
  readonly #now: () => number;
  readonly #begun: number;
  #case = 0;

  /** `steps` are those of each case; `now` is a clock in milliseconds. */
  constructor(steps: readonly number[], stream: ProgressStream, now: () => number) {
    this.#stream = stream;
    this.#steps = steps;
    this.#now = now;
    this.#begun = now();
  }

  /** Begins the next case. */
  begin(label: string): Watch {
    const at = this.#case++;
    const later = this.#steps.slice(at + 1).reduce((sum, steps) => sum + steps, 0);
    const head = `${at + 1}/${this.#steps.length} ${label}`;
    const total = later + this.#steps.slice(0, at + 1).reduce((sum, steps) => sum + steps, 0);
    const timeLeft = (left: number): string => {
      const done = total - later - left;
      const seconds = (((this.#now() - this.#begun) / 1e3) * (later + left)) / done;
      return done > 0 ? `; ${formatDuration(seconds)} left` : "";
    };
    if (this.#stream.isTTY !== true) {
      this.#stream.write(`${head}${timeLeft(this.#steps[at]!)}\n`);
      return () => undefined;
    }
    return (what, left) => {
      const line = `${head}: ${what}${timeLeft(left)}`;
      // A line that wraps cannot be overwritten.
      const room = Math.max(0, (this.#stream.columns || 80) - 1);
      this.#stream.write(`\r${line.slice(0, room)}\u001b[K`);
    };
  }

  /** Makes room for other output. */
  clear(): void {
    if (this.#stream.isTTY === true) this.#stream.write("\r\u001b[K");
  }
}
