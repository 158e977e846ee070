// Tests in an engine that joins pairs of 128-bit registers into 256-bit ones: the WebAssembly backend does so by default in a
// process that was started like that.
// In: a Node. Out: whether the backend can there, and vitest's options.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));

const question =
  'import { probeWasm } from "@millrace/kernels-cpu"; console.log(probeWasm().revectorize);';

/** Whether it can, by the backend's own word. */
export function canRevectorize(node: string): boolean {
  const options = ["--conditions=millrace-source", "--disable-warning=ExperimentalWarning"];
  const { status, stdout, stderr } = spawnSync(
    node,
    [...options, "--input-type=module", "--eval", question],
    { cwd: root, encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`${node} does not run our sources: ${stderr}`);
  return stdout.trim() === "true";
}

/** Only the optimising compiler joins, and most of what tests run would not run long enough to reach it. */
export const revectorizedTests: readonly string[] = [
  "--execArgv=--experimental-wasm-revectorize",
  "--execArgv=--no-liftoff",
];
