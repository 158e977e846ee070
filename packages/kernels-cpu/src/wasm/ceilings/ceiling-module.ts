/**
 * Loops that do nothing but meet one limit of the machine, as WebAssembly. In: nothing. Out: a module that imports a memory and
 * exports `fma`, which takes a number of rounds, `read1` and others, which take a range of addresses, and `run`, which calls one of
 * them for one thread of several. Encoded by hand, so that the ceiling does not move when our compiler does. Source: WebAssembly 3.0
 * core specification.
 */

const I32 = 0x7f;
const V128 = 0x7b;
const SIMD = 0xfd;

/** Independent sums: enough to hide the latency of an addition behind the others. */
const SUMS = 12;
const UNROLLED = 8;
/** Floating-point operations of one round: a product and a sum in each of four lanes. */
export const FLOPS_PER_ROUND: number = SUMS * UNROLLED * 4 * 2;

const READS = 16;
/** Bytes of one step of the loops that read; ranges are multiples of it. */
export const READ_STEP: number = READS * 16;
/** Parts of a range that are read side by side; which number is the fastest depends on how the machine reads ahead. */
const STREAMS = [1, 2, 4];
const readNames = STREAMS.map((streams) => `read${streams}`);

/** The exported loops that meet each limit, and all of them in the order of their numbers for `run`. */
export const ceilingLoops: Readonly<Record<"fma" | "read", readonly string[]>> = {
  fma: ["fma"],
  read: readNames,
};
export const ceilingLoopNames: readonly string[] = [...ceilingLoops.fma, ...ceilingLoops.read];

/** A number from 0 in groups of seven bits; the last group stays below `limit`. */
function leb128(value: number, limit: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= limit; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return [...bytes, rest];
}

const unsigned = (value: number): number[] => leb128(value, 0x80);
/** The highest bit of a signed number's last group is its sign. */
const i32Constant = (value: number): number[] => [0x41, ...leb128(value, 0x40)];

const sized = (bytes: readonly number[]): number[] => [...unsigned(bytes.length), ...bytes];
const section = (id: number, bytes: readonly number[]): number[] => [id, ...sized(bytes)];
const name = (text: string): number[] => sized([...new TextEncoder().encode(text)]);
const get = (local: number): number[] => [0x20, ...unsigned(local)];
const set = (local: number): number[] => [0x21, ...unsigned(local)];
const simd = (opcode: number): number[] => [SIMD, ...unsigned(opcode)];
const times = (count: number, make: (i: number) => number[]): number[] =>
  Array.from({ length: count }, (_, i) => make(i)).flat();

const f32x4Constant = (value: number): number[] => {
  const bytes = new Uint8Array(Float32Array.of(value, value, value, value).buffer);
  return [...simd(12), ...bytes];
};
const LOOP = 0x03;
const NO_RESULT = 0x40;
const BRANCH_IF = 0x0d;
const END = 0x0b;
const V128_LOAD = simd(0);
const IF = 0x04;
const CALL = 0x10;
const DROP = 0x1a;
const I32_IS_ZERO = 0x45;
const I32_EQUAL = 0x46;
const I32_LESS = 0x49;
const I32_ADD = 0x6a;
const I32_SUBTRACT = 0x6b;
const I32_MULTIPLY = 0x6c;
const I32_DIVIDE = 0x6e;
const RELAXED_MADD = simd(0x105);
const F32X4_ADD = simd(0xe4);
const I32X4_ADD = simd(0xae);
const I32X4_FIRST_LANE = [...simd(0x1b), 0];

const code = (...parts: readonly (number | readonly number[])[]): number[] => parts.flat();

/** Body of a function with so many further locals: addresses, then vectors. */
const body = (addresses: number, vectors: number, instructions: readonly number[]): number[] =>
  sized(code(2, unsigned(addresses), I32, unsigned(vectors), V128, instructions, END));

/** `again` decides whether the loop goes on. */
const loop = (instructions: readonly number[], again: readonly number[]): number[] =>
  code(LOOP, NO_RESULT, instructions, again, BRANCH_IF, 0, END);

const advance = (local: number, by: number): number[] =>
  code(get(local), i32Constant(by), I32_ADD, set(local));

/** Parameters: rounds, 0. Locals 2 and 3 are the factors, the sums follow. */
function fmaBody(): number[] {
  const first = 4;
  const multiplyAdd = (i: number): number[] =>
    code(get(2), get(3), get(first + i), RELAXED_MADD, set(first + i));
  const round = code(
    times(UNROLLED, () => times(SUMS, multiplyAdd)),
    advance(1, 1),
  );
  const total = times(SUMS - 1, (i) => code(get(first + i + 1), F32X4_ADD));
  return body(
    0,
    2 + SUMS,
    code(
      code(f32x4Constant(1e-3), set(2), f32x4Constant(1e-3), set(3)),
      loop(round, code(get(1), get(0), I32_LESS)),
      code(get(first), total, I32X4_FIRST_LANE),
    ),
  );
}

/** Parameters: address, end; then where each further stream is, the first one's end, and eight sums. */
function readBody(streams: number): number[] {
  const end = 1 + streams;
  const first = end + 1;
  const sums = 8;
  const addressOf = (stream: number): number => (stream === 0 ? 0 : stream + 1);
  const load = (i: number): number[] => {
    const sum = first + (i % sums);
    const from = code(get(addressOf(i % streams)), V128_LOAD, 4);
    const offset = unsigned(Math.floor(i / streams) * 16);
    return code(get(sum), from, offset, I32X4_ADD, set(sum));
  };
  const distance = code(get(1), get(0), I32_SUBTRACT, i32Constant(streams), I32_DIVIDE);
  const starts = times(streams - 1, (i) =>
    code(get(addressOf(i)), distance, I32_ADD, set(addressOf(i + 1))),
  );
  const firstEnd = code(get(0), distance, I32_ADD, set(end));
  const step = code(
    times(READS, load),
    times(streams, (stream) => advance(addressOf(stream), READ_STEP / streams)),
  );
  const total = times(sums - 1, (i) => code(get(first + i + 1), I32X4_ADD));
  return body(
    streams,
    sums,
    code(
      starts,
      firstEnd,
      loop(step, code(get(0), get(end), I32_LESS)),
      code(get(first), total, I32X4_FIRST_LANE),
    ),
  );
}

/** Parameters: thread, threads, which loop, and how much of it: rounds, or bytes for each thread. */
function runBody(): number[] {
  const from = code(get(0), get(3), I32_MULTIPLY);
  const to = code(from, get(3), I32_ADD);
  const fma = code(get(3), i32Constant(0), CALL, 0, DROP);
  const read = times(STREAMS.length, (i) =>
    code(get(2), i32Constant(i + 1), I32_EQUAL, IF, NO_RESULT, from, to, CALL, i + 1, DROP, END),
  );
  return body(0, 0, code(get(2), I32_IS_ZERO, IF, NO_RESULT, fma, END, read));
}

/** Where the module finds its memory. */
export const ceilingMemory = { module: "bench", name: "memory" } as const;

/**
 * The module's bytes; `sharedPages` is the most pages of a memory that threads share. All loops return a number that depends on
 * everything they did, so that nothing is left out.
 */
export function ceilingModule(sharedPages?: number): Uint8Array<ArrayBuffer> {
  const limits = sharedPages === undefined ? [0, 1] : [3, 1, ...unsigned(sharedPages)];
  const exported = [...ceilingLoopNames, "run"];
  const exports = exported.flatMap((each, i) => [...name(each), 0, i]);
  return Uint8Array.from(
    code(
      [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
      section(1, [2, 0x60, 2, I32, I32, 1, I32, 0x60, 4, I32, I32, I32, I32, 0]),
      section(2, code(1, name(ceilingMemory.module), name(ceilingMemory.name), 2, limits)),
      section(
        3,
        code(
          exported.length,
          times(ceilingLoopNames.length, () => [0]),
          1,
        ),
      ),
      section(7, code(exported.length, exports)),
      section(10, code(exported.length, fmaBody(), STREAMS.flatMap(readBody), runBody())),
    ),
  );
}
