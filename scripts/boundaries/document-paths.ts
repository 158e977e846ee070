// The rule that documents mention only files that exist.
// In: Markdown texts and a way to ask whether a path exists. Out: one message per dead mention.
// Checked are relative links with their #headings, and `code spans` that begin with one of our folders.
// A span with a placeholder, as `packages/<name>/src`, is not a path and is left alone.
import { posix } from "node:path";

/** What the check needs to know of the repository's files. Paths are relative to the root. */
export interface Tree {
  /** Whether a file or folder matches; the path may hold the wildcards * and {a,b}. */
  exists(path: string): boolean;
  /** The text of a file. */
  read(path: string): string;
}

const rootFolders = /^(?:packages|docs|examples|scripts|\.github|\.changeset|\.ci)\//;
const pathSpan = /^[\w@.*{},/-]+$/;

/** A heading's anchor, made as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, "")
    .replaceAll(" ", "-");
}

/** The text without fenced code blocks, with as many lines as before. */
function withoutFences(text: string): string {
  return text.replaceAll(/^(```+|~~~+).*?^\1[ \t]*$/gms, (block) => block.replaceAll(/[^\n]/g, ""));
}

function headingsOf(text: string): Set<string> {
  return new Set(
    [...withoutFences(text).matchAll(/^#{1,6}\s+(.*)$/gm)].map((m) => anchorOf(m[1]!)),
  );
}

/** Checks one document. `path` is where it is, `text` what it says. */
export function checkDocument(path: string, text: string, tree: Tree): string[] {
  const problems: string[] = [];
  for (const [index, line] of withoutFences(text).split("\n").entries()) {
    const complain = (mention: string, why: string): number =>
      problems.push(`${path}:${index + 1}: ${mention} ${why}.`);
    const prose = line.replaceAll(/`[^`]*`/g, "");
    for (const match of prose.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)) {
      const link = match[1]!;
      if (/^[a-z][a-z+.-]*:/i.test(link)) continue;
      const [file = "", anchor] = decodeURI(link).split("#", 2);
      const target = file === "" ? path : posix.join(posix.dirname(path), file);
      if (target.startsWith("../")) complain(link, "points outside the repository");
      else if (!tree.exists(target)) complain(link, "does not exist");
      else if (anchor && target.endsWith(".md") && !headingsOf(tree.read(target)).has(anchor)) {
        complain(link, "names a heading that does not exist");
      }
    }
    for (const match of line.matchAll(/`([^`]+)`/g)) {
      const span = match[1]!.replace(/:\d+$/, "");
      if (rootFolders.test(span) && pathSpan.test(span) && !tree.exists(span)) {
        complain(`\`${span}\``, "does not exist");
      }
    }
  }
  return problems;
}
