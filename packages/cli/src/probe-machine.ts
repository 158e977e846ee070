/**
 * What the machine offers. In: the running process, its programs, its packages. Out: findings, each with what it is for
 * and how to get it.
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
  return [probeNode(process.versions.node), probeCpu(), ...(await probeEngine()), cc, clang, gpu];
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

/** What the WebAssembly backend asks of the engine. */
async function probeEngine(): Promise<readonly Finding[]> {
  const { probeWasm } = await import("@millrace/kernels-cpu");
  const features = probeWasm();
  const refused = "this engine refuses a module that uses it";
  const finding = (
    name: string,
    available: boolean,
    purpose: string,
    { detail = "", reason = refused, required = false } = {},
  ): Finding => ({
    name,
    required,
    available,
    detail: available ? detail : reason,
    purpose,
    remedy: newerNode,
  });
  return [
    finding("WebAssembly SIMD", features.simd, "--device wasm", { required: true }),
    finding(
      "WebAssembly relaxed SIMD",
      features.relaxedSimd,
      "faster matrix products (fused multiply-add)",
    ),
    finding("WebAssembly threads", features.sharedMemory, "using more than one core", {
      // What createWasmBackend takes unless told.
      detail: `programs take ${Math.min(availableParallelism(), 8)} unless told by --threads`,
    }),
    finding("WebAssembly multi-memory", features.multiMemory, "models that need more than 4 GiB"),
    finding("256-bit registers", features.revectorize, "matrix products in half of the time", {
      detail: "V8's revectorization; taken unless told by --revectorize",
      reason: "V8's revectorization needs Node 24 and an x64 processor with AVX2",
    }),
  ];
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
