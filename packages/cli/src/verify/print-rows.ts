/**
 * Rows of a verification as text for people or as one JSON object. In: rows. Out: text.
 */
import type { Row } from "./verify-case.ts";

const isMet = ({ status }: Row): boolean => status !== "failed";

/** True when no tensor is missed. */
export function allMet(rows: readonly Row[]): boolean {
  return rows.every(isMet);
}

const units: Readonly<Record<Row["measure"], string>> = {
  absolute: "",
  exact: "",
  relative: " relative",
  row: " of row",
  tensor: " of tensor",
  rms: " rms",
};

function cells(row: Row): readonly string[] {
  const { name, status, error, tolerance, measure, note } = row;
  if (status === "skipped" || status === "input") return [name, "", "", status, note ?? ""];
  const limit = measure === "exact" ? "exact" : `${tolerance}${units[measure]}`;
  const shown = error === 0 ? "0" : error.toExponential(1);
  return [name, shown, limit, status === "ok" ? "ok" : "FAILED", note ?? ""];
}

/** A table with a line per tensor, and a last line that counts them. */
export function printTable(rows: readonly Row[]): string {
  const lines = [["tensor", "largest error", "tolerance", "", ""], ...rows.map(cells)];
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...lines.map((line) => line[column]!.length)),
  );
  const text = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const count = (status: Row["status"]): number =>
    rows.filter((row) => row.status === status).length;
  const parts = (["ok", "failed", "input", "skipped"] as const)
    .filter((status) => status === "ok" || count(status) > 0)
    .map((status) => `${count(status)} ${status}`);
  return `${text.join("\n")}\n\n${rows.length} tensors: ${parts.join(", ")}\n`;
}

/** One object; an error that is no number is null. */
export function printJson(
  about: { readonly case: string; readonly device: string },
  rows: readonly Row[],
): string {
  const listed = rows.map(({ name, status, error, tolerance, measure, note }) => ({
    name,
    error: Number.isFinite(error) ? error : null,
    tolerance,
    measure,
    ok: status !== "failed",
    status,
    ...(note !== undefined && { note }),
  }));
  return `${JSON.stringify({ ...about, ok: allMet(rows), rows: listed })}\n`;
}
