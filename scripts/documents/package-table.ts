// The table of packages in the README. In: manifests. Out: rows of a Markdown table, aligned as the formatter aligns them,
// and a document with the table between its two marks replaced. Reads and writes no files.

/** What the table needs of one package.json. */
export interface PackageManifest {
  readonly name: string;
  readonly description: string;
}

/** One package and the folder it is in, relative to the document. */
export interface ListedPackage extends PackageManifest {
  readonly folder: string;
}

const begin = "<!-- packages: written by scripts/generate-tables.ts -->";
const end = "<!-- end of packages -->";

/** A Markdown table with every column as wide as its widest cell. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  const [head, ...body] = rows;
  return [line(head!), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join(
    "\n",
  );
}

export function packageTable(packages: readonly ListedPackage[]): string {
  const rows = packages.map(({ name, folder, description }) => [
    `[${name}](${folder}/README.md)`,
    description,
  ]);
  return formatTable([["package", "what it is"], ...rows]);
}

/** The document with its table of packages renewed; undefined when it has no place for one. */
export function withPackageTable(document: string, table: string): string | undefined {
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from < 0 || to < from) return undefined;
  return `${document.slice(0, from + begin.length)}\n\n${table}\n\n${document.slice(to)}`;
}
