/**
 * V8's revectorization: its optimising compiler joins pairs of operations on 128-bit registers into one on 256 bits, which computes the
 * same bits. In: the engine. Out: whether it can, whether it was told to, and the flag that tells it. The flag is an experiment of
 * V8's and one of the whole process, so it is set only for those who ask for it.
 */
import { ModuleBuilder } from "./emit/assembler.ts";

const FLAG = "--experimental-wasm-revectorize";

/**
 * That of Node 24. V8 12, which Node 22 has, knows the flag but compiles by another pipeline: wide tiles were half as fast as narrow
 * ones. V8 14, which Node 26 has, ends the process ("unreachable code") over modules of ours while it looks for pairs.
 */
const KNOWN_V8 = 13;

/** What a build of Node says of itself; other engines and browsers say nothing. */
function isBuiltIn(): boolean {
  if (typeof process !== "object" || process.arch !== "x64") return false;
  if (Number.parseInt(process.versions?.v8 ?? "", 10) !== KNOWN_V8) return false;
  const variables = process.config?.variables as Readonly<Record<string, unknown>> | undefined;
  return variables?.["v8_enable_wasm_simd256_revec"] === 1;
}

/** Whether a multiply-add rounds once. Processors on which it does have 256-bit registers for integers, too: AVX2. */
function fusesMultiplyAdd(): boolean {
  const module = new ModuleBuilder();
  // (1 + 2^-12)² - (1 + 2^-11) is 2^-24, or 0 if the square has been rounded to f32 before.
  const run = module.define({ params: [], results: ["f32"] }, (f) => {
    f.f32x4(1 + 2 ** -12);
    f.f32x4(1 + 2 ** -12);
    f.f32x4(-(1 + 2 ** -11));
    f.op("f32x4.relaxed_madd");
    f.lane("f32x4.extract_lane", 0);
  });
  module.export("run", run);
  const bytes = module.encode();
  if (!WebAssembly.validate(bytes)) return false;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  return (exports["run"] as () => number)() !== 0;
}

let able: boolean | undefined;

/** Whether the engine has it and the processor has the registers. */
export function canRevectorize(): boolean {
  return (able ??= isBuiltIn() && fusesMultiplyAdd());
}

/** Whether Node was started with the flag. */
export function isRevectorizing(): boolean {
  return canRevectorize() && process.execArgv.includes(FLAG);
}

/** Tells the engine to, from now on, in all of the process. */
export function startRevectorizing(): void {
  process.getBuiltinModule("node:v8").setFlagsFromString(FLAG);
}
