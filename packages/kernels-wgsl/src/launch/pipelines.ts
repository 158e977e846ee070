/**
 * Shaders as pipelines. In: WGSL and its bindings. Out: compiled pipelines, each text once per device, all those of a program
 * compiled side by side. A shader that does not compile rejects with the compiler's message and the line it is about.
 */
import { DeviceError } from "@millrace/graph";
import type { Shader } from "../emit/segment.ts";
import type { DeviceGuard } from "./device-errors.ts";

/** What a pipeline needs to be bound. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

export class Pipelines {
  readonly #device: GPUDevice;
  readonly #guard: DeviceGuard;
  readonly #compiled = new Map<string, Promise<GPUComputePipeline>>();
  readonly #layouts = new Map<
    string,
    { readonly group: GPUBindGroupLayout; readonly all: GPUPipelineLayout }
  >();

  constructor(device: GPUDevice, guard: DeviceGuard) {
    this.#device = device;
    this.#guard = guard;
  }

  /** The pipeline of a shader; `where` names the step that asks. */
  async get(shader: Shader, where: string): Promise<Pipeline> {
    const storage = shader.bindings.reduce((count, { parts }) => count + parts, 0);
    const layout = this.#layout(storage, shader.sizes !== undefined);
    const key = shader.code;
    let compiled = this.#compiled.get(key);
    if (!compiled) {
      compiled = this.#compile(shader.code, layout.all, where);
      this.#compiled.set(key, compiled);
      // What failed may work later, on a device with more memory.
      compiled.catch(() => this.#compiled.delete(key));
    }
    return { pipeline: await compiled, layout: layout.group };
  }

  #layout(
    storage: number,
    sizes: boolean,
  ): { readonly group: GPUBindGroupLayout; readonly all: GPUPipelineLayout } {
    const key = `${storage} ${sizes}`;
    const known = this.#layouts.get(key);
    if (known) return known;
    const compute = 4;
    const entries: GPUBindGroupLayoutEntry[] = Array.from({ length: storage }, (_, binding) => ({
      binding,
      visibility: compute,
      buffer: { type: "storage" },
    }));
    if (sizes) entries.push({ binding: storage, visibility: compute, buffer: { type: "uniform" } });
    const group = this.#device.createBindGroupLayout({ entries });
    const all = this.#device.createPipelineLayout({ bindGroupLayouts: [group] });
    const made = { group, all };
    this.#layouts.set(key, made);
    return made;
  }

  async #compile(
    code: string,
    layout: GPUPipelineLayout,
    where: string,
  ): Promise<GPUComputePipeline> {
    let module: GPUShaderModule | undefined;
    try {
      // The report of a wrong shader comes with the pipeline; the scope keeps it from being reported twice.
      this.#device.pushErrorScope("validation");
      module = this.#device.createShaderModule({ code, label: where });
      const pipeline = this.#device.createComputePipelineAsync({
        label: where,
        layout,
        compute: { module, entryPoint: "main" },
      });
      this.#device.popErrorScope().catch(() => undefined);
      return await this.#guard.wait(where, pipeline);
    } catch (error) {
      this.#guard.check(where);
      const cause = (error as { cause?: unknown }).cause ?? error;
      throw new DeviceError({
        what: `a shader does not compile: ${await explain(module, code, cause)}`,
        where,
        hint: "This is a bug of the backend: please report it with the output of millrace compile --print emitted.",
        cause,
      });
    }
  }
}

/** The compiler's first error, with the line it names. */
async function explain(
  module: GPUShaderModule | undefined,
  code: string,
  cause: unknown,
): Promise<string> {
  const info = await module?.getCompilationInfo().catch(() => undefined);
  const error = info?.messages.find(({ type }) => type === "error");
  if (!error) return (cause as Error).message.trim();
  const line = code.split("\n")[error.lineNum - 1]?.trim() ?? "";
  return `${error.message} in line ${error.lineNum}: ${line}`;
}
