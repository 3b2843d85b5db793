// oxlint-disable no-restricted-imports -- inside of the benches: running them would take hours
import { describe, it } from 'vitest'
import { wireRows } from '../../bench/binder/wire.ts'
import type { Comparison } from '../../bench/compare.ts'
import { addTable } from '../../bench/outbox/add.ts'
import type { Bed } from '../../bench/outbox/bed.ts'
import { measureRelay } from '../../bench/outbox/relay.ts'
import { oneTable } from '../../bench/saga/bout.ts'

describe('the targets of the benches', () => {
  it.for([
    [0.6, '>= 0.60: met'],
    [0.75, '>= 0.75: NOT MET'],
  ] as const)(
    'our row on the cost of a message shows whether it reaches %d of payload and key alone',
    ([ofPlain, said], { expect }) => {
      const step = (perSecond: number) => [{ units: perSecond, ms: 1_000, cpuUs: 1_000 }]
      const rows = wireRows('200 B', [1_000, 900, 500, 400, 650].map(step), ofPlain)
      expect(rows.map((row) => row.at(-1))).toEqual(['-', '-', '-', '-', said])
      expect(rows[4]?.slice(0, 4)).toEqual(['200 B', 'concordat', '650', '0.65'])
    },
  )

  it.for([
    [300, '1.20', '>= 1.00: met'],
    [200, '0.80', '>= 1.00: NOT MET'],
  ] as const)(
    'outbox.add, %d a second, stands beside a row written by hand',
    ([perSecond, ratio, said], { expect }) => {
      const turn = (rate: number) => [{ perSecond: rate, eachMs: [1], serverCpuUs: 1, walBytes: 1 }]
      const { head, rows } = addTable(['alone', 'add', 'by hand'], [500, perSecond, 250].map(turn))
      const [beside, target] = ['ours / a bare INSERT', 'target'].map((name) =>
        rows.map((row) => row[head.indexOf(name)]),
      )
      expect(beside).toEqual(['-', ratio, '-'])
      expect(target).toEqual(['-', said, '-'])
    },
  )

  it('one saga at a time is compared with the median of each rival, and with a limit of its own', ({ expect }) => {
    const took = (ms: number) => [
      { eachMs: [ms], countedMs: 1, total: 1, cpuUs: 1, serverCpuUs: 1, commits: 1, rows: 1, walBytes: 1 },
    ]
    const turns = [6, 5, 7].map(took)
    const { rows } = oneTable({ what: 'steps', oneAtMostMs: 10 }, ['concordat', 'DBOS', 'Restate'], turns)
    expect(rows.map((row) => row.at(-1))).toEqual([
      'our p50 <= 10.0 ms: met',
      'our p50 <= 5.00 ms: NOT MET',
      'our p50 <= 7.00 ms: met',
    ])
    const without = oneTable({ what: 'commands' }, ['concordat', 'DBOS'], turns)
    expect(without.rows.map((row) => row.at(-1))).toEqual(['-', 'our p50 <= 5.00 ms: NOT MET'])
  })

  it('the relay is held against nine tenths of the naive reader', async ({ expect }) => {
    const targets: unknown[] = []
    const measure = async ({ ratio, target }: Comparison): Promise<void> => void targets.push([ratio, target])
    await measureRelay({} as Bed, { measure })
    expect(targets).toEqual([
      [{ atLeast: 0.9 }, undefined],
      [undefined, { atLeast: 20_000 }],
    ])
  })
})
