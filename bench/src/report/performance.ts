/**
 * docs/performance.md. In: all results. Out: the document with its sections rewritten: the promises, and one table for each group
 * with the machine and the versions it was measured with.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { GroupResult, Results } from "../measure/result.ts";
import { claimsTable, judge } from "./claims.ts";
import { replaceSection } from "./document.ts";
import { machineText } from "./machine.ts";
import { absenceNotes, groupTable, versionsOf } from "./table.ts";

const documentFile = new URL("../../../docs/performance.md", import.meta.url);

/** A group's section. */
export function groupSection(result: GroupResult): string {
  const { machine, rounds } = result;
  const loaded =
    machine.load > 0.3 ? ` Other work was going on (load ${machine.load.toFixed(2)}).` : "";
  const notes = absenceNotes(result);
  return [
    `${machine.date}: ${machineText(machine)} ${versionsOf([result]).join(", ")}. Medians of ${rounds} rounds.${loaded}`,
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

export function writeDocument(results: Results): void {
  writeFileSync(documentFile, withResults(readFileSync(documentFile, "utf8"), results));
}
