// oxlint-disable no-restricted-imports -- inside of redlock: what a lost vote may have left
import { expect, test } from 'vitest'
import { judge, type Vote } from '../../../locks/redlock/explain-lost-vote.ts'

const away: Vote = { kind: 'silent', outcome: 'not_done', detail: 'not connected' }
const votes: readonly Vote[] = [{ kind: 'granted', token: 1, serverUs: 1 }, away, away]

test.each([
  ['has taken its vote back', false, 'not_done'],
  ['did not confirm that its vote is taken back', true, 'unknown'],
] as const)('a vote is lost while a server that voted for it %s', (_, mayKeep, outcome) => {
  const loss = judge(votes, ['a', 'b', 'c'], (voter) => voter === 0 && mayKeep)
  expect(loss).toMatchObject({ kind: 'failed', error: { code: 'locks.store_unavailable', outcome } })
})
