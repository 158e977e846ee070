/**
 * docs/performance.md. In: all results. Out: the document with its sections rewritten: the promises, and one table for each group
 * with the machine and the versions it was measured with.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { GroupResult, Results } from "../measure/result.ts";
import { claimsTable, judge } from "./claims.ts";
import { replaceSection } from "./document.ts";
import { loadText, machineText } from "./machine.ts";
import { absenceNotes, groupTable, versionsOf } from "./table.ts";

const documentFile = new URL("../../../docs/performance.md", import.meta.url);
const resultsFile = new URL("../../results.json", import.meta.url);

/** A group's section. */
export function groupSection(result: GroupResult): string {
  const { machine, rounds } = result;
  const notes = absenceNotes(result);
  const about = `${machine.date}: ${machineText(machine)} ${versionsOf([result]).join(", ")}. Medians of ${rounds} rounds. ${loadText(machine)}`;
  return [
    about.trim(),
    groupTable(result),
    ...(notes.length > 0 ? [`Not there:\n\n${notes.join("\n")}`] : []),
  ].join("\n\n");
}

/** The document with everything that was measured. */
export function withResults(document: string, results: Results): string {
  let text = replaceSection(document, "promises", claimsTable(judge(results)));
  for (const result of Object.values(results))
    text = replaceSection(text, result.group, groupSection(result));
  return text;
}

/** What was written before, or nothing. */
export function readResults(): Results {
  return existsSync(resultsFile) ? (JSON.parse(readFileSync(resultsFile, "utf8")) as Results) : {};
}

/** Numbers with as many digits as mean something. */
export function resultsText(results: Results): string {
  const short = (_key: string, value: unknown): unknown =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
  return `${JSON.stringify(results, short, 1)}\n`;
}

/** Rewrites results.json and the document, in the repository's format. */
export function writeResults(results: Results): void {
  writeFileSync(resultsFile, resultsText(results));
  writeFileSync(documentFile, withResults(readFileSync(documentFile, "utf8"), results));
  const files = [resultsFile, documentFile].map((file) => fileURLToPath(file));
  const { status } = spawnSync("oxfmt", files, {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0)
    console.error("oxfmt was not found; run it over bench/results.json and docs/performance.md.");
}
