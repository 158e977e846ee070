/**
 * Forms of matrix products, measured. In: a program and a device. Out: for each product the fastest of a few forms, whose results are those
 * of the form that would be chosen without measuring; what disagrees with it is never used. Winners are kept, also beyond the
 * process where there is a cache. Products whose loops depend on loaded integers are left as they are.
 */
import type { HostTensor, Kernel, Program } from "@millrace/graph";
import {
  elementCount,
  evaluateDim,
  hashKernel,
  hostArray,
  hostTensor,
  isFloat,
  toNumbers,
} from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import { configureKernel } from "../configure/configure.ts";
import type { LinesForm, ProductForm } from "../configure/contract.ts";
import { fittingTiles } from "../configure/contract.ts";
import { unshared } from "../emit/bindings.ts";
import type { LaunchContext } from "../launch/launch-context.ts";
import { loadProgram } from "../launch/load.ts";
import { WgslStore } from "../store.ts";
import { programOf } from "./one-kernel.ts";

/** Texts by name that outlive the process. `fileCache` of `@millrace/kernels-wgsl/node` keeps them on disk. */
export interface TuneCache {
  read(name: string): Promise<string | undefined>;
  write(name: string, text: string): Promise<void>;
}

/** Forms to try in place of one. */
type Candidates = (form: ProductForm, capabilities: WgslCapabilities) => readonly ProductForm[];

/** Bytes of a product that are worth measuring it with. */
const most = 2 ** 27;
interface TunerOptions {
  readonly cache?: TuneCache;
  readonly candidates?: Candidates;
  /** Part of the time so far that a form may take to be taken instead: what is not much faster is noise. */
  readonly worthwhile?: number;
}

const candidatesOf: Candidates = (form, capabilities) => {
  if (form.kind === "tile") return fittingTiles(Infinity, capabilities);
  if (form.kind === "lines" && form.along === "depth") return otherLines(form);
  return [];
};

/** Longer and shorter lines with as many columns each. */
function otherLines(form: LinesForm): readonly LinesForm[] {
  const perLine = form.columns / (form.workgroup / form.lanes);
  return [8, 16, 32, 64, 128]
    .filter((lanes) => lanes <= form.workgroup)
    .map((lanes) =>
      Object.assign({}, form, { lanes, columns: perLine * (form.workgroup / lanes) }),
    );
}

interface Measured {
  readonly outputs: readonly HostTensor[];
  readonly time: number;
}

export class ProductTuner {
  readonly #context: LaunchContext;
  readonly #adapter: string;
  readonly #cache: TuneCache | undefined;
  readonly #candidates: Candidates;
  readonly #worthwhile: number;
  readonly #winners = new Map<string, ProductForm>();
  /** One measurement at a time: they would slow each other down. */
  #busy: Promise<unknown> = Promise.resolve();
  /** Forms that were measured, for tests and reports. */
  measured = 0;

  constructor(context: LaunchContext, adapter: string, options: TunerOptions = {}) {
    this.#context = context;
    this.#adapter = adapter;
    this.#cache = options.cache;
    this.#candidates = options.candidates ?? candidatesOf;
    this.#worthwhile = options.worthwhile ?? 0.95;
  }

  /** The forms of a program's products that are faster than those chosen without measuring. */
  products(program: Program): Promise<Readonly<Record<string, ProductForm>>> {
    const mine = this.#busy.then(() => this.#tune(program));
    this.#busy = mine.catch(() => undefined);
    return mine;
  }

  async #tune({ kernels }: Program): Promise<Readonly<Record<string, ProductForm>>> {
    const found: Record<string, ProductForm> = {};
    for (const kernel of kernels) {
      const segments = configureKernel(kernel, unshared(kernel), this.#context.capabilities);
      for (const [i, { form }] of segments.entries()) {
        if (form.kind !== "tile" && form.kind !== "lines") continue;
        const key = `${hashKernel(kernel)} ${i}`;
        let winner = this.#winners.get(key) ?? (await this.#remembered(key, form));
        if (!winner) {
          winner = await this.#fastest(kernel, key, form);
          await this.#cache?.write(this.#name(key), JSON.stringify(winner));
        }
        this.#winners.set(key, winner);
        found[key] = winner;
      }
    }
    return found;
  }

  #name(key: string): string {
    return `${this.#adapter}: ${key}`;
  }

  /** What the cache says, if it is a form that would be tried. */
  async #remembered(key: string, form: ProductForm): Promise<ProductForm | undefined> {
    const text = await this.#cache?.read(this.#name(key));
    const known = [form, ...this.#candidates(form, this.#context.capabilities)];
    return known.find((candidate) => JSON.stringify(candidate) === text);
  }

  async #fastest(kernel: Kernel, key: string, form: ProductForm): Promise<ProductForm> {
    const program = programOf(kernel);
    const readable = kernel.buffers.every(
      ({ dtype, access }) => access === "write" || isFloat(dtype),
    );
    if (!readable || program.arenaBytes > most) return form;
    const expected = await this.#measure(program, {});
    let best = { form, time: expected.time };
    for (const candidate of this.#candidates(form, this.#context.capabilities)) {
      if (JSON.stringify(candidate) === JSON.stringify(form)) continue;
      this.measured++;
      // A form that the device refuses is no candidate; a lost device is heard of when the program is loaded.
      const made = await this.#measure(program, { [key]: candidate }).catch(() => undefined);
      if (!made || !agree(made.outputs, expected.outputs)) continue;
      if (made.time < best.time * this.#worthwhile) best = { form: candidate, time: made.time };
    }
    return best.form;
  }

  /** Results of a kernel at its largest sizes, and the shortest time of a few runs. */
  async #measure(
    program: Program,
    products: Readonly<Record<string, ProductForm>>,
  ): Promise<Measured> {
    const { capabilities } = this.#context;
    const store = new WgslStore(this.#context.memory);
    const executable = await loadProgram(program, store, {
      ...this.#context,
      capabilities: { ...capabilities, products },
    });
    try {
      const sizes = Object.fromEntries(program.sizes.map(({ name, max }) => [name, max]));
      const bound = new Map(Object.entries(sizes));
      const inputs = Object.fromEntries(
        program.inputs.map(({ name, type }, i) => [
          name,
          pattern(
            type.dtype,
            type.shape.map((dim) => evaluateDim(dim, bound)),
            i,
          ),
        ]),
      );
      const run = async (): Promise<{ outputs: Record<string, HostTensor>; time: number }> => {
        if (executable.profile && capabilities.timestamps) {
          const { outputs, profile } = await executable.profile(inputs, sizes);
          return { outputs, time: profile.duration };
        }
        const begin = performance.now();
        const outputs = await executable.run(inputs, sizes);
        return { outputs, time: performance.now() - begin };
      };
      // The first run may compile.
      const { outputs } = await run();
      let time = Infinity;
      for (let i = 0; i < 3; i++) time = Math.min(time, (await run()).time);
      return { outputs: program.outputs.map(({ name }) => outputs[name]!), time };
    } finally {
      executable.dispose();
      store.dispose();
    }
  }
}

/** Small numbers that every dtype holds, again and again. */
function pattern(dtype: HostTensor["dtype"], shape: readonly number[], seed: number): HostTensor {
  const values = Array.from({ length: 251 }, (_, i) => (((i + seed) * 37) % 31) / 16 - 1);
  const one = hostTensor(dtype, [values.length], values).data;
  const length = elementCount(shape);
  const data = hostArray(dtype, length);
  for (let at = 0; at < length; at += one.length)
    data.set(one.subarray(0, length - at) as never, at);
  return { dtype, shape, data };
}

const tolerances: Readonly<Record<string, number>> = { f32: 1e-4, f16: 2e-3, bf16: 2e-2 };

/** Whether results are the same but for the order of sums. */
function agree(actual: readonly HostTensor[], expected: readonly HostTensor[]): boolean {
  return expected.every((want, i) => {
    const [a, b] = [toNumbers(actual[i]!), toNumbers(want)];
    const scale = b.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
    const tolerance = (tolerances[want.dtype] ?? 0.15) * scale;
    return b.every((value, at) => Math.abs(a[at]! - value) <= tolerance || a[at] === value);
  });
}
