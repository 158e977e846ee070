/**
 * One thing after the other. In: tasks in the order they are asked for. Out: their results. A task that finds nobody before it starts
 * at once, before `take` returns, so what never waits behaves as if there were no turns.
 */

/** A queue of tasks. */
export class Turns {
  #last: Promise<unknown> | undefined;

  /** Runs a task when all before it are done, whether or not they succeeded. */
  async take<T>(task: () => T | Promise<T>): Promise<T> {
    const before = this.#last;
    const mine = before ? before.then(task, task) : task();
    if (!(mine instanceof Promise)) return mine;
    this.#last = mine;
    try {
      return await mine;
    } finally {
      if (this.#last === mine) this.#last = undefined;
    }
  }
}
