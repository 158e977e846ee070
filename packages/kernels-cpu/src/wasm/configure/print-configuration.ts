/**
 * Choices as text. In: a kernel's configuration. Out: one line per loop, reduction and product, indented as they are nested, with
 * what the threads of a team divide.
 */
import type { Statement } from "@millrace/graph";
import { blockOf } from "@millrace/graph";
import type { Configuration } from "./configure.ts";
import { describeContract } from "./contract.ts";
import type { Division } from "./divide.ts";

type Divisions = ReadonlyMap<Statement, Division>;

/** What the threads divide of the statement itself. */
function divisionText(statement: Statement, divisions: Divisions): string {
  for (const [outer, division] of divisions)
    switch (division.kind) {
      case "range":
        if (division.loops.some((loop) => loop === statement)) return ", divided";
        break;
      case "product":
        if (outer !== statement) break;
        return `; divided by ${division.by === "either" ? "rows or columns" : division.by}`;
      case "batch":
        if (division.contract === statement) return "; tiles of all divided";
    }
  return "";
}

/** The configuration as lines. */
export function printConfiguration(
  { body, choices }: Configuration,
  divisions: Divisions = new Map(),
): string {
  const lines: string[] = [];
  const walk = (statements: readonly Statement[], indent: string): void => {
    for (const statement of statements) {
      const choice = choices.get(statement);
      const divided = divisionText(statement, divisions);
      if (choice?.kind === "loop" && statement.kind === "loop")
        lines.push(
          `${indent}loop ${statement.range.axis}${choice.lanes ? ": 4 lanes" : ""}${divided}`,
        );
      if (choice?.kind === "reduce" && statement.kind === "reduce") {
        const axes = statement.ranges.map((range) => range.axis).join(" ");
        lines.push(`${indent}reduce ${axes}${choice.lanes ? ": 4 lanes" : ""}`);
      }
      if (choice?.kind === "contract" && statement.kind === "contract")
        lines.push(`${indent}contract ${describeContract(choice)}${divided}`);
      walk(blockOf(statement), `${indent}  `);
    }
  };
  walk(body, "");
  return lines.join("\n");
}
