/** Names of `service/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do
export type { Closable, CloseOnSignalsOptions } from '../../../service/close-on-signals.ts'
