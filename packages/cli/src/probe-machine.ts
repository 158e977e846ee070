/**
 * What the machine offers. In: the running process, its programs, its packages. Out: findings, each with what it is for
 * and how to get it. WebAssembly features are probed with the smallest module that uses them.
 */
import { spawn } from "node:child_process";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

import type { DeviceOptions } from "./options.ts";

/** One thing that is there or not. */
export interface Finding {
  readonly name: string;
  readonly available: boolean;
  /** Nothing works without it. */
  readonly required: boolean;
  /** Version, size or count; why not, where it is missing. */
  readonly detail: string;
  readonly purpose: string;
  readonly remedy: string;
}

const newerNode = "Use Node 24: run through npm in a checkout, or install it from nodejs.org.";

/** All findings, in the order of importance. With `--device gpu` an adapter is required, and the one that `--adapter` names. */
export async function probeMachine(options: DeviceOptions): Promise<readonly Finding[]> {
  const [cc, clang, gpu] = await Promise.all([
    probeCompiler("cc", "C compiler (cc)", "Install one, such as apt-get install gcc."),
    probeCompiler("clang", "clang", "Install it, such as apt-get install clang."),
    probeGpu(options),
  ]);
  const wasm = [...probeWasm(), await probeRegisters()];
  return [probeNode(process.versions.node), probeCpu(), ...wasm, cc, clang, gpu];
}

/** Whether a Node version is new enough. */
export function probeNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return {
    name: "Node.js",
    available: major > 22 || (major === 22 && minor >= 18),
    required: true,
    detail: `${version}${major < 24 ? " (24 has relaxed SIMD; 22.18 is the least)" : ""}`,
    purpose: "everything",
    remedy: newerNode,
  };
}

function probeCpu(): Finding {
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return {
    name: "processor and memory",
    available: true,
    required: false,
    detail: `${availableParallelism()} usable cores (${cpus()[0]?.model.trim() ?? "unknown model"}), ${gib(freemem())} of ${gib(totalmem())} free`,
    purpose: "",
    remedy: "",
  };
}

const wasmPreamble = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const vector = 0x7b;
const splat = [0x41, 0, 0xfd, 0x0f]; // i32.const 0, i8x16.splat
/** What createWasmBackend takes unless told. */
const threadsDetail = `programs take ${Math.min(availableParallelism(), 8)} unless told by --threads`;
/** Smallest modules; each is invalid where its feature is missing. */
const wasmFeatures: readonly {
  readonly name: string;
  readonly required: boolean;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly purpose: string;
  readonly detail?: string;
}[] = [
  {
    name: "WebAssembly SIMD",
    required: true,
    bytes: wasmModule({ result: vector, body: splat }),
    purpose: "--device wasm",
  },
  {
    name: "WebAssembly relaxed SIMD",
    required: false,
    // f32x4.relaxed_madd
    bytes: wasmModule({ result: vector, body: [...splat, ...splat, ...splat, 0xfd, 0x85, 0x02] }),
    purpose: "faster matrix products (fused multiply-add)",
  },
  {
    name: "WebAssembly threads",
    required: false,
    // i32.atomic.load from a shared memory
    bytes: wasmModule({ memory: [0x03, 1, 1], body: [0x41, 0, 0xfe, 0x10, 2, 0, 0x1a] }),
    purpose: "using more than one core",
    detail: threadsDetail,
  },
  {
    name: "WebAssembly multi-memory",
    required: false,
    // i32.load from the second of two memories
    bytes: wasmModule({ memory: [0, 1], memories: 2, body: [0x41, 0, 0x28, 0x42, 1, 0, 0x1a] }),
    purpose: "models that need more than 4 GiB",
  },
];

function probeWasm(): readonly Finding[] {
  return wasmFeatures.map(({ name, required, bytes, purpose, detail = "" }) => {
    const available = typeof WebAssembly === "object" && WebAssembly.validate(bytes);
    return {
      name,
      required,
      available,
      detail: available ? detail : "this engine refuses a module that uses it",
      purpose,
      remedy: newerNode,
    };
  });
}

async function probeRegisters(): Promise<Finding> {
  const engine = await import("@millrace/kernels-cpu");
  const available = engine.probeWasm().revectorize;
  return {
    name: "256-bit registers",
    required: false,
    available,
    detail: available
      ? "V8's revectorization; taken unless told by --revectorize"
      : "V8's revectorization needs Node 24 and an x64 processor with AVX2",
    purpose: "matrix products in half of the time",
    remedy: newerNode,
  };
}

/** A module with one function of no arguments, and a memory, or several alike, if `memory` gives its limits. */
function wasmModule(parts: {
  readonly result?: number;
  readonly memory?: readonly number[];
  readonly memories?: number;
  readonly body: readonly number[];
}): Uint8Array<ArrayBuffer> {
  const section = (id: number, content: readonly number[]): number[] => [
    id,
    content.length,
    ...content,
  ];
  const results = parts.result === undefined ? [0] : [1, parts.result];
  const memories = Array.from({ length: parts.memories ?? 1 }, () => parts.memory ?? []);
  const code = [0, ...parts.body, 0x0b];
  return new Uint8Array([
    ...wasmPreamble,
    ...section(1, [1, 0x60, 0, ...results]),
    ...section(3, [1, 0]),
    ...(parts.memory ? section(5, [memories.length, ...memories.flat()]) : []),
    ...section(10, [1, code.length, ...code]),
  ]);
}

async function probeCompiler(program: string, name: string, remedy: string): Promise<Finding> {
  const { status, output } = await runProgram(program, ["--version"], 10_000);
  return {
    name,
    required: false,
    available: status === 0,
    detail: status === 0 ? (output.split("\n")[0] ?? "") : "not found on the path",
    purpose: "the native backend, once there is one",
    remedy,
  };
}

/** Asks for adapters in a process of its own: a broken driver may end the process that asks. */
const gpuScript = `
const { create } = await import(process.argv[1]);
// Asked for one that is not there, it names those that are.
globalThis.gpu = create(["adapter=no adapter is called this"]);
const message = await globalThis.gpu.requestAdapter().then(() => "", (error) => error.message);
const names = [...message.matchAll(/name: '([^']*)'/g)].map(([, name]) => name);
console.log("adapter=" + [...new Set(names)].join(", "));
`;

async function probeGpu({ device, adapter }: DeviceOptions): Promise<Finding> {
  const { adapterRemedy } = await import("@millrace/kernels-wgsl");
  const required = device === "gpu" || adapter !== undefined;
  const finding = (available: boolean, detail: string, remedy: string): Finding => {
    const purpose = "--device gpu";
    return { name: "GPU adapter", required, available, detail, purpose, remedy };
  };
  // The optional package may be installed beside this one or in the user's own project.
  for (const cwd of [fileURLToPath(new URL(".", import.meta.url)), process.cwd()]) {
    const { status, output } = await runProgram(
      process.execPath,
      ["--input-type=module", "--eval", gpuScript, "webgpu"],
      20_000,
      cwd,
    );
    const names = /^adapter=(.*)$/m.exec(output)?.[1];
    if (names === "")
      return finding(
        false,
        'the package "webgpu" is there, but finds no adapter',
        `${adapterRemedy}.`,
      );
    if (names !== undefined && !names.includes(adapter ?? ""))
      return finding(false, `none is called "${adapter}"`, `Choose one of: ${names}.`);
    if (names !== undefined) return finding(true, names, "");
    if (!output.includes("ERR_MODULE_NOT_FOUND"))
      return finding(
        false,
        `the package "webgpu" failed (${status === undefined ? "no answer" : `status ${status}`})`,
        "Check the graphics driver, or reinstall the package.",
      );
  }
  return finding(
    false,
    'the optional package "webgpu" is not installed',
    `Run npm install webgpu. ${adapterRemedy}.`,
  );
}

/** Runs a program and gathers all it prints; status is undefined when it did not start, crashed or took too long. */
function runProgram(
  program: string,
  args: readonly string[],
  timeout: number,
  cwd: string = process.cwd(),
): Promise<{ status: number | undefined; output: string }> {
  return new Promise((resolve) => {
    let output = "";
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    // Node's own time-out would keep the process waiting for a program that never started.
    const timer = setTimeout(() => child.kill("SIGKILL"), timeout);
    const finish = (status: number | undefined): void => {
      clearTimeout(timer);
      resolve({ status, output });
    };
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
    child.on("error", () => finish(undefined));
    child.on("close", (code) => finish(code ?? undefined));
  });
}
