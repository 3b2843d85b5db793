/**
 * For authors of packages, transports, stores and step kinds: the contracts, and what the parts of the engine use to meet them:
 * option checks with the usual messages, safe reading of thrown values, text without secrets, a time limit, transactions and
 * statements of SQL clients, and hooks for simulated time and randomness. The suites in `test/conformance` hold a transport, a lock
 * store and a cluster store to their contracts.
 *
 * @module
 */
export type {
  DestinationSpec,
  PublishOutcome,
  Receiver,
  Subscription,
  SubscriptionSpec,
  Transport,
  TransportDelivery,
  TransportFeatures,
  TransportHost,
} from '../binder/transport/transport.ts'
export { virtualTimeIn } from '../core/clock.ts'
export { causesOf, invalidOption, requireInteger, requireText, toError } from '../core/errors.ts'
export { restartIds } from '../core/ids.ts'
export { isDeeperThan } from '../core/json-nesting.ts'
export { checkLogger } from '../core/logger.ts'
export {
  hasMethods,
  optionNames,
  refuseUnknown,
  requireFunction,
  requireList,
  wrongKind,
} from '../core/option-checks.ts'
export { printable, withoutSecrets } from '../core/printable.ts'
export { randomId } from '../core/random-id.ts'
export { shellWord } from '../core/shell-word.ts'
export { DEFAULT_SCHEMA, ownQuery, quoteLiteral } from '../core/sql.ts'
export { missingRights } from '../core/table-rights.ts'
export { fieldOf, messageOf, readable } from '../core/thrown-values.ts'
export { within } from '../core/time-limit.ts'
export { TransactionScope } from '../core/transaction-scope.ts'
export type {
  ClusterStore,
  CommitRequest,
  JoinRequest,
  LogEntry,
  LogFollower,
} from '../election/cluster/store/cluster-store.ts'
export type {
  AcquireReply,
  AcquireRequest,
  Claim,
  ClaimTerms,
  LockFeatures,
  LockOperator,
  LockStore,
  NotHeld,
} from '../locks/store.ts'
export type { PreparedCall, RunContext, StepKind } from '../saga/definition/kinds/kind.ts'
export type { StepDefinition } from '../saga/definition/saga-definition-types.ts'
export { scriptedSaga } from '../saga/definition/scripted-saga.ts'
export { stored } from '../saga/json.ts'
export { inSaga } from '../saga/wire/current-saga.ts'
