/**
 * What is legal, one file for each form. In: a graph, a kernel or a program. Out: nothing, or an InternalError that prints the
 * offending node, line or buffer. Run after every pass in tests.
 */
export { verifyGraph } from "./verify-graph.ts";
export { verifyKernel } from "./verify-kernel.ts";
export { verifyProgram } from "./verify-program.ts";
