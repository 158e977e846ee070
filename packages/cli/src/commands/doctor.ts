/**
 * `millrace doctor`: what this machine offers and what is missing. In: nothing. Out: a row per finding with the remedy
 * where something is missing; exit status 1 only when something needed is. The probes are in `probe-machine.ts`.
 */
import type { Command } from "commander";

import { type CliContext, CommandFailed } from "../context.ts";
import { adapterOption, type DeviceOptions, deviceOption, withExamples } from "../options.ts";
import type { Finding } from "../probe-machine.ts";

interface DoctorOptions extends DeviceOptions {
  readonly json?: boolean;
}

export function addDoctor(program: Command, context: CliContext): void {
  withExamples(
    program
      .command("doctor")
      .description("Show what this machine offers, what is missing, and how to get it.")
      .option("--json", "one JSON object on stdout")
      .addOption(deviceOption())
      .addOption(adapterOption()),
    ["doctor", "doctor --device gpu --adapter nvidia"],
  ).action(async (options: DoctorOptions) => {
    const { probeMachine } = await import("../probe-machine.ts");
    const findings = await probeMachine(options);
    const ok = findings.every((finding) => finding.available || !finding.required);
    context.stdout.write(
      options.json ? `${JSON.stringify({ ok, findings }, null, 2)}\n` : formatFindings(findings),
    );
    if (!ok) throw new CommandFailed();
  });
}

/** One row per finding; a missing one is followed by what it is for and the remedy. */
export function formatFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map((finding) => finding.name.length));
  const rows = findings.map((finding) => {
    const state = finding.available ? "ok" : finding.required ? "MISSING" : "absent";
    const row = `${state.padEnd(9)}${finding.name.padEnd(width + 2)}${finding.detail}`.trimEnd();
    if (finding.available) return row;
    const indent = " ".repeat(width + 11);
    return `${row}\n${indent}for: ${finding.purpose}\n${indent}get: ${finding.remedy}`;
  });
  return `${rows.join("\n")}\n`;
}
