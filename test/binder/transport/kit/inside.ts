/** The kit for transports, which is tested on its own. Not public: hence not by package name. */
// oxlint-disable no-restricted-imports -- the one file of these tests that reaches inside

export { ended, within } from '../../../../binder/transport/kit/deadline.ts'
export { keepTrying } from '../../../../binder/transport/kit/keep-trying.ts'
export {
  type Lendable,
  Lending,
  type LendingEvents,
  type LoanSource,
} from '../../../../binder/transport/kit/lending.ts'
export { PrefetchWindow } from '../../../../binder/transport/kit/prefetch-window.ts'
export { SettledPositions } from '../../../../binder/transport/kit/settled-positions.ts'
export { failureOf } from '../../../../binder/transport/kit/transport-error-factory.ts'
