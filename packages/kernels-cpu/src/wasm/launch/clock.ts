/**
 * One clock for all threads. In: a module's imports. Out: the same with a clock, for modules that measure. The `performance.now` of a
 * thread counts from its own beginning, so beginnings are compared: those of threads lie a few microseconds off at most.
 */

export type Imports = Readonly<Record<string, Readonly<Record<string, WebAssembly.Memory>>>>;

/** Name of the clock, beside the memory. It gives milliseconds since the `origin` of the thread that loaded the program. */
export const clockImport = "now";

export function withClock(imports: Imports, origin: number): WebAssembly.Imports {
  const offset = performance.timeOrigin - origin;
  const now = (): number => performance.now() + offset;
  return Object.fromEntries(
    Object.entries(imports).map(([module, members]) => [
      module,
      { ...members, [clockImport]: now },
    ]),
  );
}
