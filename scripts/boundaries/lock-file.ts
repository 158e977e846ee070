// The rule that package-lock.json works with any registry.
// In: the parsed lock. Out: one message per entry that names the registry it was fetched from.

/** The parts of package-lock.json that the rule reads. */
export interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly resolved?: string; readonly link?: boolean }>
  >;
}

/** Checks that entries name no download address; links to our own folders are no download. */
export function checkLock(lock: Lock): string[] {
  return Object.entries(lock.packages)
    .filter(([, entry]) => entry.resolved !== undefined && entry.link !== true)
    .map(
      ([name]) =>
        `package-lock.json: "${name}" has a "resolved" address. Set ` +
        `omit-lockfile-registry-resolved=true in npm's settings and run "npm run lock".`,
    );
}
