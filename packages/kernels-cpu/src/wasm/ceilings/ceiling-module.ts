/**
 * Two loops that do nothing but meet one limit of the machine, as WebAssembly. In: nothing. Out: a module that imports a
 * memory and exports `fma`, which takes a number of rounds, `read`, which takes a range of addresses, and `run`, which calls one of
 * them for one thread of several. Encoded by hand, so that the ceiling does not move when our compiler does. Source: WebAssembly 3.0 core specification.
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
/** Bytes of one step of `read`; ranges are multiples of it. */
export const READ_STEP: number = READS * 16;

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

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
const i32Constant = (value: number): number[] => [0x41, ...unsigned(value)];
const LOOP = 0x03;
const NO_RESULT = 0x40;
const BRANCH_IF = 0x0d;
const END = 0x0b;
const V128_LOAD = simd(0);
const IF = 0x04;
const ELSE = 0x05;
const CALL = 0x10;
const DROP = 0x1a;
const I32_ADD = 0x6a;
const I32_MULTIPLY = 0x6c;
const I32_LESS = 0x49;
const RELAXED_MADD = simd(0x105);
const F32X4_ADD = simd(0xe4);
const I32X4_ADD = simd(0xae);
const I32X4_FIRST_LANE = [...simd(0x1b), 0];

const code = (...parts: readonly (number | readonly number[])[]): number[] => parts.flat();

/** Body of a function with `count` further locals of type v128. */
const body = (count: number, instructions: readonly number[]): number[] =>
  sized(code(1, unsigned(count), V128, instructions, END));

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
    2 + SUMS,
    code(
      code(f32x4Constant(1e-3), set(2), f32x4Constant(1e-3), set(3)),
      loop(round, code(get(1), get(0), I32_LESS)),
      code(get(first), total, I32X4_FIRST_LANE),
    ),
  );
}

/** Parameters: address, end. Eight sums. */
function readBody(): number[] {
  const first = 2;
  const sums = 8;
  const load = (i: number): number[] => {
    const sum = first + (i % sums);
    return code(get(sum), get(0), V128_LOAD, 4, unsigned(i * 16), I32X4_ADD, set(sum));
  };
  const step = code(times(READS, load), advance(0, READ_STEP));
  const total = times(sums - 1, (i) => code(get(first + i + 1), I32X4_ADD));
  return body(
    sums,
    code(loop(step, code(get(0), get(1), I32_LESS)), code(get(first), total, I32X4_FIRST_LANE)),
  );
}

/** Parameters: thread, threads, which loop (0 is `fma`), and how much of it: rounds, or bytes for each thread. */
function runBody(): number[] {
  const from = code(get(0), get(3), I32_MULTIPLY);
  const to = code(from, get(3), I32_ADD);
  const fma = code(get(3), i32Constant(0), CALL, 0, DROP);
  const read = code(from, to, CALL, 1, DROP);
  return body(0, code(get(2), IF, NO_RESULT, read, ELSE, fma, END));
}

/** Where the module finds its memory. */
export const ceilingMemory = { module: "bench", name: "memory" } as const;

/**
 * The module's bytes; `sharedPages` is the most pages of a memory that threads share. `fma` and `read` return a number that depends
 * on everything they did, so that nothing is left out.
 */
export function ceilingModule(sharedPages?: number): Uint8Array<ArrayBuffer> {
  const limits = sharedPages === undefined ? [0, 1] : [3, 1, ...unsigned(sharedPages)];
  return Uint8Array.from(
    code(
      [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
      section(1, [2, 0x60, 2, I32, I32, 1, I32, 0x60, 4, I32, I32, I32, I32, 0]),
      section(2, code(1, name(ceilingMemory.module), name(ceilingMemory.name), 2, limits)),
      section(3, [3, 0, 0, 1]),
      section(7, code(3, name("fma"), 0, 0, name("read"), 0, 1, name("run"), 0, 2)),
      section(10, code(3, fmaBody(), readBody(), runBody())),
    ),
  );
}
