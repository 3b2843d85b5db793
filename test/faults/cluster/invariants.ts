// oxlint-disable-next-line no-restricted-imports -- the bank of the other suite, not the package's folder
import { SAGA_INVARIANTS } from '../saga/invariants.ts'

const { 'never without owner': _, 'no process fails': noProcessFails, ...ofSagas } = SAGA_INVARIANTS

export const CLUSTER_INVARIANTS = {
  'what was accepted is there': 'what a commit said is in the database, whichever server is the primary now',
  'nothing is lost': 'each message of a committed transaction was handled',
  'nothing from nowhere': 'no message was handled that no committed transaction holds',
  'no effect twice': 'no message was handled twice',
  'in order': 'of each key, messages were handled in the order in which they were sent',
  'no stale write': 'of each lock and of each role, the tokens of the writes that were let through never fall',
  'all come back': 'after the fault everything that was begun comes to its end, and every line moves again',
  'no process fails': noProcessFails,
  ...ofSagas,
} as const

export type ClusterInvariant = keyof typeof CLUSTER_INVARIANTS
