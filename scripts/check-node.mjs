// Stops a root script early when it runs on a Node that cannot run the sources.
// In: the running Node's version. Out: exit status 1 and the remedy, or nothing.
// Plain JavaScript on purpose: it has to parse on the old Node that it reports.
const [major = 0] = process.versions.node.split(".").map(Number);

if (major < 24) {
  console.error(
    `This repository's scripts need Node 24, but this is Node ${process.versions.node}.\n` +
      `Node 24 is installed with the other dependencies where npm serves it for the platform:\n` +
      `run "npm ci" without --omit=optional, and start scripts through "npm run" or "npx".\n` +
      `On ${process.platform}-${process.arch} without such a package, install Node 24 yourself.`,
  );
  process.exit(1);
}
