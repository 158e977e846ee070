/**
 * Every op of this package, for readers of text, which name ops. In: the op files. Out: one list. Nothing in the compiler
 * asks it: a graph's nodes hold their op.
 */
import type { AnyOp } from "../op.ts";
import { stopGradientOp } from "../differentiate/custom-vjp.ts";
import { checkpointOp } from "../differentiate/rematerialize.ts";
import { attentionGradientOp } from "./composites/attention-gradient.ts";
import { attentionOp } from "./composites/attention.ts";
import { bf16LinearOp, bf16RaggedDotOp } from "./composites/bf16-matmul.ts";
import { blockDequantizeOp, blockQuantizeOp } from "./composites/block-quantize.ts";
import { crossEntropyOp } from "./composites/cross-entropy.ts";
import {
  groupDequantizeOp,
  groupLinearOp,
  groupQuantizeOp,
  groupRaggedDotOp,
  unpackInt4Op,
} from "./composites/group-matmul.ts";
import { latentAttentionGradientOp } from "./composites/latent-attention-gradient.ts";
import { latentAttentionOp } from "./composites/latent-attention.ts";
import { permuteRowsOp } from "./composites/permute-rows.ts";
import { rmsNormOp } from "./composites/rms-norm.ts";
import { ropeOp, swapPairsOp } from "./composites/rope.ts";
import {
  fp8LinearOp,
  fp8RaggedDotOp,
  raggedScaledDotOp,
  scaledDotOp,
} from "./composites/scaled-matmul.ts";
import { logSoftmaxOp, softmaxOp } from "./composites/softmax.ts";
import { siluOp, swigluOp } from "./composites/swiglu.ts";
import { groupLimitedTopKOp } from "./composites/top-k-routing.ts";
import { broadcastOp, sumOp } from "./ops/broadcast.ts";
import { dotGeneralOp, raggedDotOp, raggedOuterOp } from "./ops/contract.ts";
import {
  absOp,
  addOp,
  andOp,
  bitcastOp,
  ceilOp,
  convertOp,
  cosOp,
  divOp,
  eqOp,
  expOp,
  floorOp,
  geOp,
  gtOp,
  leOp,
  logOp,
  ltOp,
  maxOp,
  minOp,
  mulOp,
  neOp,
  negOp,
  notOp,
  orOp,
  remOp,
  roundOp,
  selectOp,
  shlOp,
  shrOp,
  sigmoidOp,
  signOp,
  sinOp,
  sqrtOp,
  subOp,
  tanhOp,
  xorOp,
} from "./ops/elementwise.ts";
import { dimensionOp, iotaOp, scatterAddOp, takeAlongAxisOp, takeOp } from "./ops/gather.ts";
import { constantOp, inputOp, stateOp } from "./ops/leaf.ts";
import { concatenateOp, padOp, reshapeOp, sliceOp, transposeOp } from "./ops/movement.ts";
import { randomBitsOp } from "./ops/random.ts";
import { argmaxOp, cumulativeSumOp, reduceMaxOp, reduceMinOp } from "./ops/reduce.ts";
import { countingSortOp, sortOp, topKOp } from "./ops/sort.ts";
import { updateSliceOp } from "./ops/state.ts";

/** All ops that a graph of built-in functions can hold. */
export const builtInOps: readonly AnyOp[] = [
  attentionOp,
  attentionGradientOp,
  latentAttentionOp,
  latentAttentionGradientOp,
  bf16LinearOp,
  bf16RaggedDotOp,
  blockDequantizeOp,
  blockQuantizeOp,
  crossEntropyOp,
  groupDequantizeOp,
  groupLinearOp,
  groupQuantizeOp,
  groupRaggedDotOp,
  unpackInt4Op,
  permuteRowsOp,
  rmsNormOp,
  ropeOp,
  swapPairsOp,
  fp8LinearOp,
  fp8RaggedDotOp,
  raggedScaledDotOp,
  scaledDotOp,
  logSoftmaxOp,
  softmaxOp,
  siluOp,
  swigluOp,
  groupLimitedTopKOp,
  broadcastOp,
  sumOp,
  dotGeneralOp,
  raggedDotOp,
  raggedOuterOp,
  absOp,
  addOp,
  andOp,
  bitcastOp,
  ceilOp,
  convertOp,
  cosOp,
  divOp,
  eqOp,
  expOp,
  floorOp,
  geOp,
  gtOp,
  leOp,
  logOp,
  ltOp,
  maxOp,
  minOp,
  mulOp,
  neOp,
  negOp,
  notOp,
  orOp,
  remOp,
  roundOp,
  selectOp,
  shlOp,
  shrOp,
  sigmoidOp,
  signOp,
  sinOp,
  sqrtOp,
  subOp,
  tanhOp,
  xorOp,
  dimensionOp,
  iotaOp,
  scatterAddOp,
  takeAlongAxisOp,
  takeOp,
  constantOp,
  inputOp,
  stateOp,
  concatenateOp,
  padOp,
  reshapeOp,
  sliceOp,
  transposeOp,
  randomBitsOp,
  argmaxOp,
  cumulativeSumOp,
  reduceMaxOp,
  reduceMinOp,
  countingSortOp,
  sortOp,
  topKOp,
  updateSliceOp,
  stopGradientOp,
  checkpointOp,
];
