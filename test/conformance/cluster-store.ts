import { randomUUID } from 'node:crypto'
import type { ClusterStore, CommitRequest, LogEntry } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import type { CommitOperation, CommitReply } from '../support/inside/election.ts'
import { until } from '../support/until.ts'
import type { ClusterContext } from './cluster.ts'

const put = (key: string, json: string, ifVersion?: number): CommitOperation => ({ kind: 'put', key, json, ifVersion })

function writer(store: ClusterStore, options: Partial<CommitRequest> = {}) {
  const id = { cluster: randomUUID(), state: 's' }
  const log = id
  const request = (operation: CommitOperation, more: Partial<CommitRequest> = {}): CommitRequest => ({
    id,
    operations: [operation],
    requestId: randomUUID(),
    attempt: 1,
    since: 0,
    keepChanges: 100,
    keepDeletedMs: 60_000,
    ...options,
    ...more,
  })
  const commit = (operation: CommitOperation, more?: Partial<CommitRequest>): Promise<CommitReply> =>
    store.commit(request(operation, more))
  const value = async (key: string): Promise<string | undefined> => (await store.read(id, [key])).records[0]?.json
  return { id, log, request, commit, value }
}

function revisionOf(reply: CommitReply): number {
  if (reply.status !== 'committed') throw new Error(`not committed: ${reply.status}`)
  return reply.revision
}

export function storeCases({ store: newStore, wipe }: ClusterContext): void {
  describe('a request that is sent again', () => {
    it('is executed once, and gets its revision', async () => {
      const store = newStore()
      const { request, commit, value } = writer(store)
      const first = request(put('k', '1'))
      const done = await store.commit(first)
      await commit(put('k', '2'))
      expect(await store.commit({ ...first, attempt: 2 })).toEqual(done)
      expect(await store.commit({ ...first, attempt: 3 })).toEqual(done)
      expect(await value('k')).toBe('2')
    })

    it('is executed when it had not arrived, and its straggler is not', async () => {
      const store = newStore()
      const { request, commit, value } = writer(store)
      const first = request(put('k', '1'))
      const done = await store.commit({ ...first, attempt: 2 })
      expect(done).toMatchObject({ status: 'committed', changed: true })
      await commit(put('k', '2'))
      await store.commit(first)
      expect(await value('k')).toBe('2')
    })

    it('keeps an answered conflict: its straggler writes nothing, though the condition came true', async () => {
      const store = newStore()
      const { request, commit, value } = writer(store)
      await commit(put('k', '1'))
      const late = request(put('k', '2', 0))
      expect(await store.commit({ ...late, attempt: 2 })).toMatchObject({ status: 'conflict', record: { json: '1' } })
      await commit({ kind: 'delete', key: 'k', ifVersion: undefined })
      expect(await store.commit(late)).toEqual({ status: 'unknown' })
      expect(await value('k')).toBeUndefined()
    })

    it('is found among many later ones, or unknown when the log does not reach back', async () => {
      const store = newStore()
      const { request, commit } = writer(store, { keepChanges: 150 })
      const first = request(put('k', '0'))
      const done = await store.commit(first)
      for (let n = 0; n < 100; n++) await commit(put(`other ${n}`, '1'))
      expect(await store.commit({ ...first, attempt: 2 })).toEqual(done)
      const second = request(put('k', '1'))
      await store.commit(second)
      for (let n = 0; n < 160; n++) await commit(put(`other ${n}`, '2'))
      expect(await store.commit({ ...second, attempt: 2 })).toEqual({ status: 'unknown' })
    })

    it('is executed once, although its sender knew a later revision of a server that lost its last writes', async () => {
      const store = newStore()
      const { request, value } = writer(store)
      // The clock of the server that took over is an hour behind, as its revisions are.
      const since = (Date.now() + 3_600_000) * 1_000
      const first = request(put('k', '1', 0), { since })
      const done = await store.commit(first)
      expect(await store.commit({ ...first, attempt: 2 })).toEqual(done)
      expect(await value('k')).toBe('1')
    })

    it('is found although the server has written past that revision since', async () => {
      const store = newStore()
      const { request, commit, value } = writer(store)
      const since = (Date.now() + 300) * 1_000
      const first = request(put('k', '1'), { since })
      const done = await store.commit(first)
      let later = 0
      while (later <= since) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        later = revisionOf(await commit(put('k', '2')))
      }
      expect(await store.commit({ ...first, attempt: 2 })).toEqual(done)
      expect(await value('k')).toBe('2')
    })

    it('is unknown when its log was cut since, whatever revision of a lost history its sender knew', async () => {
      const store = newStore()
      const { request, commit } = writer(store, { keepChanges: 2 })
      const first = request(put('k', '1'), { since: (Date.now() + 3_600_000) * 1_000 })
      await store.commit(first)
      for (let n = 0; n < 5; n++) await commit(put('k', '2'))
      expect(await store.commit({ ...first, attempt: 2 })).toEqual({ status: 'unknown' })
    })

    it('is executed when everything since a known revision is in the log and it is not', async () => {
      const store = newStore()
      const { commit } = writer(store, { keepChanges: 10 })
      let since = 0
      for (let n = 0; n < 30; n++) since = revisionOf(await commit(put('k', String(n))))
      expect(await commit(put('k', '"new"'), { attempt: 2, since })).toMatchObject({ status: 'committed' })
      expect(await commit(put('k', '"new"'), { attempt: 2, since: 0 })).toEqual({ status: 'unknown' })
    })
  })

  describe('the log', () => {
    it('has each change once, in order, each naming the one before', async () => {
      const store = newStore()
      const { log, commit } = writer(store)
      const revisions: number[] = []
      for (const json of ['1', '2', '3', '4']) revisions.push(revisionOf(await commit(put('k', json))))
      const reply = await store.changes(log, 0, 100)
      if (reply.status !== 'ok') throw new Error(reply.status)
      expect(reply.entries.map(({ revision }) => revision)).toEqual(revisions)
      expect(reply.entries.map(({ previous }) => previous)).toEqual([0, ...revisions.slice(0, -1)])
      const rest = await store.changes(log, revisions[1] as number, 1)
      expect(rest).toMatchObject({ status: 'ok', entries: [{ revision: revisions[2] }] })
      expect(await store.changes(log, revisions[3] as number, 9)).toEqual({ status: 'ok', entries: [] })
    })

    it('is read in pages of at most 1 MiB, but at least one entry', async () => {
      const store = newStore()
      const { log, commit } = writer(store)
      const revisions: number[] = []
      for (const kib of [400, 400, 400, 3_000, 1, 1])
        revisions.push(revisionOf(await commit(put('k', JSON.stringify('x'.repeat(kib * 1_024))))))
      const pages: number[][] = []
      for (let after = 0; after !== revisions.at(-1); ) {
        const reply = await store.changes(log, after, 100)
        if (reply.status !== 'ok') throw new Error(reply.status)
        pages.push(reply.entries.map(({ revision }) => revisions.indexOf(revision)))
        after = reply.entries.at(-1)?.revision ?? (revisions.at(-1) as number)
      }
      expect(pages).toEqual([[0, 1], [2], [3], [4, 5]])
    })

    it('is followed from far behind, beside other logs, whatever the size of its entries', async () => {
      const [store, other] = [newStore(), newStore()]
      const writers = [writer(other), writer(other), writer(other)]
      const written: number[][] = [[], [], []]
      for (let n = 0; n < 5; n++)
        for (const [w, { commit }] of writers.entries())
          written[w]?.push(revisionOf(await commit(put('k', JSON.stringify('x'.repeat(600 * 1_024))))))
      const seen: number[][] = [[], [], []]
      let rollbacks = 0
      const stops = writers.map(({ log }, w) =>
        store.follow(log, 0, {
          onEntries: (entries) => seen[w]?.push(...entries.map(({ revision }) => revision)),
          onRollback: () => rollbacks++,
        }),
      )
      await until('all have caught up', () => seen.flat().length >= 15)
      expect({ seen, rollbacks }).toEqual({ seen: written, rollbacks: 0 })
      for (const stop of stops) stop()
    })

    it('reports when it begins later, and when it never had that revision', async () => {
      const store = newStore()
      const { log, commit } = writer(store, { keepChanges: 3 })
      const revisions: number[] = []
      for (let n = 0; n < 6; n++) revisions.push(revisionOf(await commit(put('k', String(n)))))
      expect(await store.changes(log, revisions[1] as number, 9)).toEqual({ status: 'compacted' })
      // The revision before the first stored one is enough to continue from.
      expect(await store.changes(log, revisions[2] as number, 9)).toMatchObject({ status: 'ok' })
      expect(await store.changes(log, (revisions[5] as number) + 1, 9)).toEqual({ status: 'rolled_back' })
    })

    it('is followed by many at once from different places, and a new one does not wait for the others', async () => {
      const store = newStore()
      const other = newStore()
      const { log, request, commit } = writer(store)
      const first = revisionOf(await commit(put('k', '1')))
      const seen: LogEntry[][] = [[], [], []]
      const follow = (n: number, after: number): (() => void) =>
        store.follow(log, after, { onEntries: (entries) => seen[n]?.push(...entries), onRollback: () => {} })
      const stops = [follow(0, 0), follow(1, first)]
      await until('the first has caught up', () => seen[0]?.length === 1)
      await other.commit(request(put('k', '2')))
      await until('both are there', () => seen[0]?.length === 2 && seen[1]?.length === 1)
      const begun = performance.now()
      stops.push(follow(2, 0))
      await until('the third has caught up', () => seen[2]?.length === 2)
      await expectWithin(performance.now() - begun, 500)
      for (const stop of stops) stop()
      await other.commit(request(put('k', '3')))
      expect(await store.read(log, ['k'])).toMatchObject({ records: [{ json: '3' }] })
      expect(seen.map((entries) => entries.length)).toEqual([2, 1, 2])
    })
  })

  it('a cluster store never gives a revision twice, not even after it lost everything', async () => {
    const store = newStore()
    const { commit } = writer(store)
    const before = revisionOf(await commit(put('k', '1')))
    await wipe()
    const after = revisionOf(await commit(put('k', '1')))
    expect(after).toBeGreaterThan(before)
    expect(Number.isSafeInteger(after)).toBe(true)
  })

  it('a cluster store keeps clusters and states apart, with any names', async () => {
    const store = newStore()
    const suffix = randomUUID()
    const names = ['a', 'a:b', '{a}', 'ü b', 'members', 'state/a', '%', 'a%3Ab'].map((name) => name + suffix)
    const ids = names.flatMap((cluster) => names.map((state) => ({ cluster, state })))
    const { request } = writer(store)
    for (const id of ids) await store.commit({ ...request(put('k', JSON.stringify(id))), id })
    for (const id of ids) {
      const { records } = await store.read(id)
      expect(records.map(({ json }) => JSON.parse(json ?? ''))).toEqual([id])
    }
  })

  it('a cluster store refuses everything after close, and closes twice', async () => {
    const store = newStore()
    await store.close()
    await store.close()
    await expect(store.members('c')).rejects.toMatchObject({ code: 'cluster.closed' })
    await expect(store.read({ cluster: 'c', state: 's' })).rejects.toMatchObject({ code: 'cluster.closed' })
  })
}
