/** Names of `testing/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do
export type { TestKitOptions } from '../../../testing/test-kit.ts'
