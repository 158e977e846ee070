/**
 * What the numbers were measured on. In: the machine. Out: its description, as far as speed depends on it. Names of hosts and
 * users are left out.
 */
import { existsSync, readFileSync } from "node:fs";
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os";
import type { Machine } from "../measure/result.ts";

const read = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8").trim() : "");

/** Sizes of the caches of one core, as Linux tells them. */
function caches(): string {
  const levels: string[] = [];
  for (let index = 0; index < 5; index++) {
    const folder = `/sys/devices/system/cpu/cpu0/cache/index${index}`;
    const [level, type, size] = ["level", "type", "size"].map((name) => read(`${folder}/${name}`));
    if (level && type !== "Instruction") levels.push(`L${level} ${size}`);
  }
  return levels.join(", ");
}

const instructionSets = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd"];

function features(): string[] {
  const flags = new Set(
    /^(?:flags|Features)\s*:(.*)$/m.exec(read("/proc/cpuinfo"))?.[1]?.split(" "),
  );
  return instructionSets.filter((name) => flags.has(name));
}

export function describeMachine(): Machine {
  const processors = cpus();
  return {
    processor: processors[0]?.model.trim() ?? arch(),
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    caches: caches(),
    features: features(),
    system: `${platform()} ${release().split("-", 1)[0]} ${arch()}`,
    node: process.version,
    engine: `V8 ${process.versions.v8}`,
    load: loadavg()[0]!,
    date: new Date().toISOString().slice(0, 10),
  };
}

/** What makes the numbers doubtful: other work at the beginning of the run; "" if there was hardly any. */
export function loadText({ load }: Machine): string {
  return load > 0.3 ? `Other work was going on (load ${load.toFixed(2)}).` : "";
}

/** One paragraph. */
export function machineText(machine: Machine): string {
  const parts = [
    `${machine.processor}, ${machine.cores} cores`,
    ...(machine.caches ? [machine.caches] : []),
    ...(machine.features.length > 0 ? [machine.features.join(" ")] : []),
    `${machine.memoryGiB} GiB`,
    machine.system,
    `Node ${machine.node.slice(1)} (${machine.engine})`,
  ];
  return `${parts.join("; ")}.`;
}
