// oxlint-disable no-restricted-imports -- the live picture without a browser and without a console around it
/** The page beside a console that hangs, and with dead letters that were not counted. */
import { silentLogger } from 'concordat/core'
import type { SystemTopology } from 'concordat/operator'
import { expect, onTestFinished, test, vi } from 'vitest'
import { LiveSnapshot, type Snapshot } from '../../../packages/console/snapshot.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'

/** Members of `page/live.ts`, which is compiled for a browser. */
interface LiveModule {
  readonly Live: new () => { readonly state: string; start(): void }
  readonly lettersIn: (snapshot: Snapshot) => object
  readonly lettersOf: (snapshot: Snapshot, place: object) => object
}
/** Members of `page/bindings.tsx`. */
interface BindingsModule {
  readonly rowsOf: (
    snapshot: Snapshot,
  ) => ReadonlyArray<{ readonly key: string; readonly name: string; readonly letters?: object }>
  readonly columnsOf: (
    live: { rate(name: string): number | undefined },
    errors: ReadonlyMap<string, string>,
  ) => ReadonlyArray<{ readonly head: string; readonly cell: (row: object) => Drawn }>
}
/** An element that a component draws. */
interface Drawn {
  readonly type: (props: object) => Drawn
  readonly props: { readonly children: unknown }
}
/** Members of `page/topology-layout.ts`. */
interface LayoutModule {
  readonly layOut: (topology: SystemTopology) => { readonly edges: ReadonlyArray<{ readonly binding?: string }> }
}
/** Members of `page/api.ts`. */
interface ApiModule {
  readonly Refused: new (status: number, code: string, message: string) => Error
  readonly ofAction: (refused: Error) => Error
}
const compiled = (name: string): string => new URL(`../../../packages/console/page/${name}`, import.meta.url).pathname
const { Live, lettersIn, lettersOf } = (await import(compiled('live.ts'))) as LiveModule
const { columnsOf, rowsOf } = (await import(compiled('bindings.tsx'))) as BindingsModule
const { layOut } = (await import(compiled('topology-layout.ts'))) as LayoutModule
const { Refused, ofAction } = (await import(compiled('api.ts'))) as ApiModule

test('the page shows a console as away after 35 s without a byte, and connects again', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers().unstubAllGlobals())
  vi.stubGlobal('document', { hidden: false, addEventListener: () => {} })
  vi.stubGlobal('localStorage', { getItem: () => null })
  const streams: ReadableStreamDefaultController[] = []
  vi.stubGlobal('fetch', async (_path: string, { signal }: { signal: AbortSignal }) => {
    const start = (controller: ReadableStreamDefaultController): void => {
      streams.push(controller)
      signal.addEventListener('abort', () => controller.error(signal.reason))
    }
    return new Response(new ReadableStream({ start }))
  })
  const passes = async (ms: number): Promise<void> => {
    await vi.advanceTimersByTimeAsync(ms)
    await drain()
  }
  const live = new Live()
  live.start()
  await passes(34_000)
  streams[0]?.enqueue(new TextEncoder().encode(': alive\n\n'))
  await drain()
  await passes(34_000)
  expect([live.state, streams.length]).toEqual(['live', 1])
  await passes(1_500)
  expect(live.state).toBe('away')
  await passes(2_000)
  expect([live.state, streams.length]).toEqual(['live', 2])
})

test('an action without an answer may have been done; one that was refused was not', () => {
  const said = (status: number, code: string): string => ofAction(new Refused(status, code, 'x')).message
  for (const [status, code] of [
    [0, 'console.unreachable'],
    [503, 'console.away'],
    [500, 'console.failed'],
    [504, 'console.failed'],
  ] as const)
    expect(said(status, code)).toMatch(/^x\. It may have been done/)
  expect(said(409, 'saga.action_refused')).toBe('x')
})

const inLog = (lag: number): Snapshot['groups'] => ({
  at: 0,
  data: [
    { channel: 'orders', group: 'stock', lag: 0, isCut: false, readers: 1 },
    { channel: 'orders.stock.dlq', group: 'redrive', lag, isCut: lag === 100_000, readers: 0 },
  ],
})
const counted = (count: number | null): Snapshot['letters'] => ({
  at: 0,
  data: [{ channel: 'orders', group: 'stock', count }],
})
const timedOut = { code: 'console.timeout', message: 'no answer in 10 s' }

test.each([
  ['is unknown until the broker was asked', { groups: inLog(0) }, { count: undefined, uncounted: 0 }],
  [
    'is unknown when the broker does not answer',
    { groups: inLog(0), letters: { at: 0, problem: timedOut } },
    { count: undefined, uncounted: 0 },
  ],
  ['is at least what was counted', { groups: inLog(100_000) }, { count: 100_000, uncounted: 0, isCut: true }],
  ['has the letters of the log before the broker was asked', { groups: inLog(2) }, { count: 2, uncounted: 0 }],
  [
    'adds up what the log and the broker hold, and names how many groups are missing',
    {
      groups: inLog(2),
      letters: {
        at: 0,
        data: [
          { channel: 'paid', group: 'audit', count: 3 },
          { channel: 'paid', group: 'mail', count: null },
        ],
      },
    },
    { count: 5, uncounted: 1 },
  ],
  [
    'is zero when every group was counted',
    { groups: inLog(0), letters: { at: 0, data: [] } },
    { count: 0, uncounted: 0 },
  ],
  [
    'is marked while the log has more groups than are read, or was not read lately',
    { groups: { ...inLog(0), problem: { code: 'console.groups_cut', message: 'x' } }, letters: { at: 0, data: [] } },
    { count: 0, uncounted: 0, isPartial: true },
  ],
])('the number of dead letters %s', (_title, snapshot, seen) => {
  expect(lettersIn(snapshot as Snapshot)).toEqual({ isPartial: false, isCut: false, ...seen })
})

test.each([
  ['has those of the log and of a broker that has a group of its name', { groups: inLog(2), letters: counted(3) }, 5],
  [
    'is unknown while the broker has not counted those of its own',
    { groups: inLog(2), letters: counted(null) },
    undefined,
  ],
  [
    'is zero for a group of the log that has no group of letters',
    { groups: { at: 0, data: [inLog(0)?.data?.[0]] } },
    0,
  ],
  ['is unknown for a group without a count', { groups: { at: 0, data: [] } }, undefined],
])('the number of dead letters of one group %s', (_title, snapshot, count) => {
  expect(lettersOf(snapshot as Snapshot, { channel: 'orders', group: 'stock' })).toEqual({ count, isCut: false })
})

/** Groups whose names read the same with those of their channels. */
const ALIKE = [
  { channel: 'orders', group: 'placed.stock' },
  { channel: 'orders.placed', group: 'stock' },
] as const

test('groups whose names read the same with those of their channels have a line each', () => {
  const lines = ALIKE.map((place, n) => ({ ...place, lag: n, isCut: false, readers: 1 }))
  const own = { ...ALIKE[1], name: 'orders.placed.stock', state: 'running' }
  const all = ALIKE.map((place, n) => ({ ...place, service: `s${n}`, name: 'orders.placed.stock' }))
  const shown = (...parts: readonly object[]) =>
    rowsOf(Object.assign({}, ...parts)).map(({ key: _key, name: _name, letters: _letters, ...row }) => row)
  const groups = { groups: { at: 0, data: lines } }
  const bindings = { bindings: { at: 0, data: [own] } }
  const instances = { instances: { at: 0, data: { bindings: all, instances: [], leftOut: 0 } } }
  expect(shown(groups, bindings)).toMatchObject([
    { ...ALIKE[1], line: lines[1], own },
    { ...ALIKE[0], line: lines[0] },
  ])
  expect(shown(groups, instances)).toMatchObject([
    { ...ALIKE[1], line: lines[1], all: all[1] },
    { ...ALIKE[0], line: lines[0], all: all[0] },
  ])
})

test('a group that two services read has a line for each of them', () => {
  const all = ['shop', 'store'].map((service) => ({ ...ALIKE[1], service, name: 'orders.placed.stock' }))
  const rows = rowsOf({ instances: { at: 0, data: { bindings: all, instances: [], leftOut: 0 } } } as never)
  expect(rows).toMatchObject([{ all: all[0] }, { all: all[1] }])
})

test.each([
  ['unknown for a lag that is at least what was counted', 0, true, 'unknown'],
  ['unknown until there are two counts', undefined, false, 'unknown'],
  ['steady for two counts that are the same', 0, false, 'steady'],
])('the trend of a group is %s', (_title, rate, isCut, said) => {
  const [row = {}] = rowsOf({ groups: { at: 0, data: [{ ...ALIKE[0], lag: 100_000, isCut, readers: 1 }] } })
  const trend = columnsOf({ rate: () => rate }, new Map()).find(({ head }) => head === 'Trend')
  if (trend === undefined) throw new Error('unreachable: there is such a column')
  const { type, props } = trend.cell(row) as Drawn
  expect(type(props).props.children).toBe(said)
})

test('the arrows of groups whose names read the same with those of their channels differ', () => {
  const channels = ALIKE.map(({ channel: name, group }) => ({
    name,
    role: 'channel',
    senders: [],
    readers: [{ service: 'shop', group }],
  }))
  const services = [{ name: 'shop', bindings: [], sagas: [], leads: [], schedules: [] }]
  const { edges } = layOut({ services, channels } as never)
  expect(new Set(edges.map(({ binding }) => binding)).size).toBe(2)
})

test('the number of dead letters has those once that two groups share, whose names read the same', () => {
  const data = ALIKE.map((place) => ({ ...place, count: 3 }))
  expect(lettersIn({ letters: { at: 0, data } })).toMatchObject({ count: 3, uncounted: 0 })
})

const never = new Promise<never>(() => {})

function listenTo({
  groups,
  count = () => never,
  ...given
}: Partial<Record<'clock' | 'places' | 'groups', unknown>> & { count?: object }): LiveSnapshot {
  const operator = {
    groups: async () => groups,
    sagas: { count: () => never },
    outbox: { stats: () => never },
    leaders: { list: () => never },
    letters: { count, besideLog: async (_groups: unknown, known: unknown) => known },
  }
  const instances = { view: async () => ({ bindings: [] }) }
  const backend = { operator, places: [], clusters: [], instances, underWay: { lines: [] }, ...given }
  const snapshot = new LiveSnapshot(backend as never, silentLogger)
  onTestFinished(snapshot.listen(() => {}))
  return snapshot
}

test('a log with more groups than are read is shown, with what it lacks', async () => {
  const groups = Array.from({ length: 1_001 }, (_, n) => ({ channel: 'orders', group: `g${n}`, lag: 0, readers: 1 }))
  const snapshot = listenTo({ clock: new FakeClock(), groups })
  await drain()
  expect(snapshot.current.groups).toMatchObject({ data: groups, problem: { code: 'console.groups_cut' } })
})

test('a broker that is slow to count leaves the groups that it counted', async () => {
  const clock = new FakeClock()
  const places = ['fast', 'slow', 'late'].map((group) => ({ channel: 'orders', group }))
  const count = ({ group }: { group: string }): Promise<number> => (group === 'fast' ? Promise.resolve(3) : never)
  const snapshot = listenTo({ clock, places, groups: [], count })
  await clock.advance(10_000)
  expect(snapshot.current.letters?.data).toEqual([
    { channel: 'orders', group: 'fast', count: 3 },
    { channel: 'orders', group: 'slow', count: null },
    { channel: 'orders', group: 'late', count: null },
  ])
})

test('dead letters of groups whose names read the same with those of their channels are counted for each', async () => {
  const snapshot = listenTo({ clock: new FakeClock(), places: ALIKE, groups: [], count: async () => 1 })
  await drain()
  expect(snapshot.current.letters?.data).toEqual(ALIKE.map((place) => ({ ...place, count: 1 })))
})

test('a part that is no longer set up here shows nothing of what it was', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  const clock = new FakeClock()
  const places = [{ channel: 'orders', group: 'stock' }]
  const snapshot = listenTo({ clock, places, groups: [], count: async () => 3 })
  await drain()
  expect(snapshot.current.letters).toMatchObject({ data: [{ channel: 'orders', group: 'stock', count: 3 }] })
  places.length = 0
  await clock.advance(30_000)
  vi.advanceTimersByTime(1_000)
  await drain()
  expect(snapshot.current.letters).toEqual({
    at: clock.now(),
    problem: expect.objectContaining({ code: 'console.groups_unknown' }),
  })
})
