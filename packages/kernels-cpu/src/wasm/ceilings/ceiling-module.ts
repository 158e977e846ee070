/**
 * Loops that do nothing but meet one limit of the machine, as WebAssembly. In: nothing. Out: a module that imports a memory and
 * exports `fma12` and others, which take a number of rounds and where to leave their sums, `read1` and others, which take a range of
 * addresses, and `run`, which calls one of them for one thread of several. Encoded by hand, so that the ceiling does not move when
 * our compiler does. Source: WebAssembly 3.0 core specification.
 */

const I32 = 0x7f;
const V128 = 0x7b;
const SIMD = 0xfd;

/**
 * Independent sums, as many as hide the latency of an addition behind the others and leave registers for the factors. Twelve are so
 * many registers of 128 bits; of twenty-four, an engine that joins neighbours makes twelve of 256 bits, and another spills.
 */
const SUMS = [12, 24];
/** Multiply-adds of one round. */
const MULTIPLY_ADDS = 96;
/** Floating-point operations of one round: a product and a sum in each of four lanes. */
export const FLOPS_PER_ROUND: number = MULTIPLY_ADDS * 4 * 2;
/** What the loops of multiply-adds leave in memory, for each thread. */
export const SUM_BYTES: number = Math.max(...SUMS) * 16;

const READS = 16;
/** Bytes of one step of the loops that read; ranges are multiples of it. */
export const READ_STEP: number = READS * 16;
/** Parts of a range that are read side by side; which number is the fastest depends on how the machine reads ahead. */
const STREAMS = [1, 2, 4];

/** The exported loops that meet each limit, and all of them in the order of their numbers for `run`. */
export const ceilingLoops: Readonly<Record<"fma" | "read", readonly string[]>> = {
  fma: SUMS.map((sums) => `fma${sums}`),
  read: STREAMS.map((streams) => `read${streams}`),
};
export const ceilingLoopNames: readonly string[] = [...ceilingLoops.fma, ...ceilingLoops.read];

/** A number in groups of seven bits, of which the last one lies between the limits. */
function leb128(value: number, from: number, below: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest < from || rest >= below; rest >>= 7) bytes.push((rest & 0x7f) | 0x80);
  return [...bytes, rest & 0x7f];
}

const unsigned = (value: number): number[] => leb128(value, 0, 0x80);
/** The highest bit of a signed number's last group is its sign. */
const i32Constant = (value: number): number[] => [0x41, ...leb128(value, -0x40, 0x40)];

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
const V128_STORE = simd(11);
const IF = 0x04;
const CALL = 0x10;
const DROP = 0x1a;
const I32_EQUAL = 0x46;
const I32_LESS = 0x49;
const I32_ADD = 0x6a;
const I32_SUBTRACT = 0x6b;
const I32_MULTIPLY = 0x6c;
const I32_DIVIDE = 0x6e;
const RELAXED_MADD = simd(0x105);
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

/**
 * Parameters: rounds, and where the sums are left, as neighbours, from the last to the first: that is how an engine finds pairs of them
 * that it can keep in one wider register. Locals 2 and 3 are the factors, the sums follow.
 */
function fmaBody(sums: number): number[] {
  const first = 4;
  const multiplyAdd = (i: number): number[] =>
    code(get(2), get(3), get(first + (i % sums)), RELAXED_MADD, set(first + (i % sums)));
  const leave = (i: number): number[] => {
    const sum = sums - 1 - i;
    return code(get(1), get(first + sum), V128_STORE, 4, unsigned(sum * 16));
  };
  return body(
    0,
    2 + sums,
    code(
      code(f32x4Constant(1e-3), set(2), f32x4Constant(1e-3), set(3)),
      loop(code(times(MULTIPLY_ADDS, multiplyAdd), advance(0, -1)), get(0)),
      times(sums, leave),
      get(0),
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
  const sums = code(get(0), i32Constant(SUM_BYTES), I32_MULTIPLY);
  const calls = ceilingLoopNames.map((each, i) => {
    const parameters = ceilingLoops.fma.includes(each) ? code(get(3), sums) : code(from, to);
    const isIt = code(get(2), i32Constant(i), I32_EQUAL);
    return code(isIt, IF, NO_RESULT, parameters, CALL, i, DROP, END);
  });
  return body(0, 0, calls.flat());
}

/** Where the module finds its memory. */
export const ceilingMemory = { module: "bench", name: "memory" } as const;

/**
 * The module's bytes; `sharedPages` is the most pages of a memory that threads share. All loops leave or return numbers that depend on
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
      section(
        10,
        code(exported.length, SUMS.flatMap(fmaBody), STREAMS.flatMap(readBody), runBody()),
      ),
    ),
  );
}
