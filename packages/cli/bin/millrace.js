#!/usr/bin/env node
// The `millrace` command: finds a Node that can run the program and hands over to src/main.ts.
// In: the command line. Out: the program's output and exit status.
// An installed copy runs dist/main.js. A checkout of the repository runs src/main.ts, which needs no
// build: the condition `millrace-source` makes the imports of our other packages resolve to sources.
// Both need a flag or a newer Node at times, so this file may start Node again. Where Node can
// replace its own process (execve) it does; else a child is started that dies with its parent.
// Plain JavaScript on purpose: it has to parse on the old Node that it replaces.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const self = fileURLToPath(import.meta.url);
/** Set in a child process that has to end when its parent does. */
const childMark = "MILLRACE_CHILD";
const sourceCondition = "--conditions=millrace-source";
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
// The compiler settings are not part of the published package, so only a checkout has them.
const isCheckout = existsSync(new URL("../tsconfig.lib.json", import.meta.url));
const isNodeNewEnough = isCheckout ? major >= 24 : major > 22 || (major === 22 && minor >= 18);
const hasCondition = process.execArgv.some((flag) => flag.endsWith("millrace-source"));

if (isNodeNewEnough && (hasCondition || !isCheckout)) {
  dieWithParent();
  await import(isCheckout ? "../src/main.ts" : "../dist/main.js");
} else if (isNodeNewEnough) {
  startAgain(process.execPath);
} else {
  const node = nodeFromDependencies();
  if (node === undefined) {
    process.stderr.write(
      `millrace: needs Node ${isCheckout ? "24" : "22.18"} or newer, but this is Node ` +
        `${process.versions.node}. ${
          isCheckout
            ? 'Run "npm ci" in the repository (it installs Node 24 there), or use a newer Node.'
            : "Install a newer Node, for example from nodejs.org."
        }\n`,
    );
    process.exitCode = 1;
  } else {
    startAgain(node);
  }
}

/** The Node 24 that npm installed with the repository's own dependencies, if there is one. */
function nodeFromDependencies() {
  const platform = process.platform === "win32" ? "win" : process.platform;
  const name = `node-${platform}-${process.arch}`;
  try {
    const folder = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
    const file = `${folder}/bin/node${platform === "win" ? ".exe" : ""}`;
    return existsSync(file) ? file : undefined;
  } catch {
    return undefined;
  }
}

/** Runs this command line again, on the given Node and with the flag that a checkout needs. */
function startAgain(node) {
  const flags = [...process.execArgv, ...(isCheckout && !hasCondition ? [sourceCondition] : [])];
  const args = [...flags, self, ...process.argv.slice(2)];
  if (process.platform !== "win32" && typeof process.execve === "function") {
    process.execve(node, [node, ...args], process.env);
  }
  const child = spawn(node, args, {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, [childMark]: "1" },
  });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals)
    process.on(signal, () => {
      // A Windows console tells both processes; to kill there is to end at once.
      if (process.platform !== "win32") child.kill(signal);
    });
  child.on("error", (error) => {
    process.stderr.write(`millrace: cannot start ${node}: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
  });
}

/** In a child process: ends it when the parent has gone, for then nobody sees or stops it. */
function dieWithParent() {
  if (process.env[childMark] === undefined || process.channel === undefined) return;
  delete process.env[childMark];
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.channel.unref();
}
