/**
 * The `millrace` command. In: the process's arguments. Out: its exit status: 0 done, 1 an error, 2 bad usage. Data goes to
 * stdout, progress and errors to stderr.
 */
import { runCli } from "./program.ts";

// A reader that stops early (`millrace … | head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
});
