// Completes package-lock.json for registries that do not serve every platform's binary packages.
// In: a lock file written by `npm install`. Out: the same file, with an entry for each optional
// dependency that npm could not fetch and therefore left out; `npm ci` insists on finding them.
// An entry states for which platform the package is, read off its name, so that npm skips it
// elsewhere. The number of added entries is printed: 0 means that the lock was complete.
// Plain JavaScript on purpose: it has to run before Node 24 is installed.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * @typedef {object} LockEntry
 * @property {string} [version]
 * @property {string[]} [os]
 * @property {string[]} [cpu]
 * @property {string[]} [libc]
 * @property {boolean} [dev]
 * @property {boolean} [optional]
 * @property {Record<string, string>} [optionalDependencies]
 */

const operatingSystems = new Set(
  "aix android darwin freebsd linux netbsd openbsd openharmony sunos win32".split(" "),
);
const processors = new Set(
  "arm arm64 ia32 loong64 mips64el ppc64 riscv64 s390x wasm32 x64".split(" "),
);
/** Words in package names that mean a processor under another name. */
const processorAliases = new Map([
  ["armv7", "arm"],
  ["gnueabihf", "arm"],
  ["musleabihf", "arm"],
]);

/**
 * What the name of a binary package says about the platform it is for.
 * @param {string} name
 */
export function platformOf(name) {
  const words = name.split(/[-/]/);
  const os = words.filter((word) => operatingSystems.has(word));
  const named = words.map((word) => processorAliases.get(word) ?? word);
  const cpu = [...new Set(named.filter((word) => processors.has(word)))];
  const libc = words.some((word) => word.startsWith("musl")) ? ["musl"] : [];
  return { os, cpu, libc };
}

/**
 * Whether a package at `from` in the tree finds `name` in a node_modules folder at or above it.
 * @param {Record<string, LockEntry>} packages
 * @param {string} from
 * @param {string} name
 */
function isInstalled(packages, from, name) {
  const folders = from.split("node_modules/").map((_, index, parts) => {
    return parts.slice(0, index + 1).join("node_modules/");
  });
  // "a/node_modules/b" looks in its own node_modules, then in a's, then in the root's.
  const places = ["", ...folders.map((folder) => (folder.endsWith("/") ? folder : `${folder}/`))];
  return places.some((place) => packages[`${place === "/" ? "" : place}node_modules/${name}`]);
}

/**
 * Adds the missing optional packages to a parsed lock and returns their names.
 * @param {{ packages: Record<string, LockEntry> }} lock
 */
export function completeLock(lock) {
  const packages = lock.packages;
  const added = [];
  for (const [from, entry] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      if (isInstalled(packages, from, name)) continue;
      const { os, cpu, libc } = platformOf(name);
      if (!/^\d+\.\d+\.\d+/.test(version) || os.length + cpu.length === 0) {
        throw new Error(
          `package-lock.json: cannot complete ${name}@${version}, wanted by ${from || "the root"}. ` +
            `It needs an exact version and a platform in its name; install it where it is served.`,
        );
      }
      packages[`node_modules/${name}`] = {
        version,
        ...(cpu.length > 0 && { cpu }),
        ...(entry.dev && { dev: true }),
        ...(libc.length > 0 && { libc }),
        optional: true,
        ...(os.length > 0 && { os }),
      };
      added.push(name);
    }
  }
  const sorted = Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : 1));
  lock.packages = Object.fromEntries(sorted);
  return added;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = process.argv[2] ?? "package-lock.json";
  const lock = JSON.parse(readFileSync(file, "utf8"));
  const added = completeLock(lock);
  if (added.length > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`${file}: added ${added.length}`);
}
