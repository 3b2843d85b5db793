import { randomUUID } from 'node:crypto'
import { createSharedState } from 'concordat/cluster'
import { redisStateStore } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { MemberProcess } from '../../support/cluster/worker-process.ts'
import { expectWithin } from '../../support/expect-within.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const HEARTBEAT_MS = 100
const SUSPECT_MS = 400
const DEAD_MS = 1_200

function setup() {
  /** Longer timeout for members that must survive a process start on a loaded machine. */
  const life = { deadMs: DEAD_MS }
  const url = serverUrl('redis') as string
  const prefix = `test-${randomUUID()}:`
  const cluster = 'shop'
  const store = redisStateStore({ url, prefix })
  const notes = createSharedState({ store, cluster, name: 'notes' })
  const started: MemberProcess[] = []
  const start = async (instance: string): Promise<MemberProcess> => {
    const timing = [HEARTBEAT_MS, SUSPECT_MS, life.deadMs].map(String)
    const process = new MemberProcess([url, prefix, cluster, instance, ...timing])
    started.push(process)
    return process
  }
  /** Starts several at once, and waits until each has seen every other. */
  const startAll = async (...instances: string[]): Promise<MemberProcess[]> => {
    const processes = await Promise.all(instances.map(start))
    await Promise.all(processes.map((process) => process.ready()))
    await until('all see all', () =>
      processes.every((process) => process.heard().at(-1)?.members?.length === instances.length),
    )
    return processes
  }
  const close = async (): Promise<void> => {
    await Promise.all(started.map((process) => process.kill()))
    await notes.close()
    await store.close()
    const client = new Redis(url)
    const keys = await client.keys(`${prefix}*`)
    if (keys.length > 0) await client.del(keys)
    client.disconnect()
  }
  return { start, startAll, notes, close, life }
}

/** Everyone saw the same events of this member, in the order of the log. */
function sameStory(processes: readonly MemberProcess[], from: number): void {
  const [first, ...others] = processes.map((process) => {
    const events = process.heard().filter(({ version = 0, type }) => version > from && type !== 'view')
    const versions = events.map(({ version }) => version ?? 0)
    expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b))
    return events
  })
  for (const other of others) expect(other).toEqual(first)
}

describeWith(['redis'], 'members as processes', () => {
  let context: ReturnType<typeof setup>
  beforeEach(() => {
    context = setup()
  })
  afterEach(() => context.close())

  it('a killed member is suspect, then dead, once, in the same order for all five, and its entries go', async () => {
    const processes = await context.startAll('a', 'b', 'c', 'd', 'e')
    const [victim, ...others] = processes as [MemberProcess, ...MemberProcess[]]
    const from = Math.max(...processes.map((process) => process.heard().at(-1)?.version ?? 0))
    expect(await victim.write('mine', 1)).toBe('wrote')
    const killedAt = performance.now()
    await victim.kill()
    await until('all know', () => others.every((process) => process.heardOf('a').includes('dead silent')))
    const tookMs = performance.now() - killedAt
    console.log(`  kill -9 to dead, for all: ${tookMs.toFixed(0)} ms, deadAfterMs ${DEAD_MS}`)
    expect(tookMs).toBeGreaterThan(DEAD_MS - HEARTBEAT_MS - 20)
    await expectWithin(tookMs, DEAD_MS + 3_000)
    for (const process of others) expect(process.heardOf('a').slice(-2)).toEqual(['suspect', 'dead silent'])
    sameStory(others, from)
    expect((await context.notes.entries()).entries).toEqual([])
  })

  it('a member that leaves is gone at once', async () => {
    const [a, b, c] = (await context.startAll('a', 'b', 'c')) as [MemberProcess, MemberProcess, MemberProcess]
    await a.leave()
    await until('both know', () => [b, c].every((process) => process.heardOf('a').includes('left')))
    for (const process of [b, c]) expect(process.heardOf('a').slice(-1)).toEqual(['left'])
  })

  it('a member stopped past its death is refused when it wakes up, and comes back as a new generation', async () => {
    const processes = await context.startAll('a', 'b', 'c')
    const [zombie, ...others] = processes as [MemberProcess, ...MemberProcess[]]
    zombie.signal('SIGSTOP')
    await until('it is dead', () => others.every((process) => process.heardOf('a').includes('dead silent')))
    zombie.signal('SIGCONT')
    expect(await zombie.write('mine', 'late')).toBe('cluster.member_evicted')
    await until('it is back', () => zombie.self().filter(({ type }) => type === 'joined').length === 2)
    await until('all see it', () => others.every((process) => process.heardOf('a').at(-1) === 'joined'))
    expect(zombie.self().map(({ type }) => type)).toEqual(
      expect.arrayContaining(['joined', 'isolated', 'evicted', 'joined']),
    )
    const generations = zombie.self().flatMap(({ type, generation }) => (type === 'joined' ? [generation ?? 0] : []))
    expect(generations[1]).toBeGreaterThan(generations[0] as number)
    await until('it has caught up', () => zombie.heard().at(-1)?.version === others[0]?.heard().at(-1)?.version)
    const from = others[0]?.heard().findLast(({ type, instance }) => type === 'dead' && instance === 'a')?.version ?? 0
    sameStory(processes, from)
    expect((await context.notes.entries()).entries).toEqual([])
  })

  it('a process that starts again under the same id takes over, and the stopped one can do nothing', async () => {
    context.life.deadMs = 60_000
    const [old, watcher] = (await context.startAll('a', 'b')) as [MemberProcess, MemberProcess]
    old.signal('SIGSTOP')
    const again = await context.start('a')
    const generation = await again.ready()
    expect(await again.write('mine', 'new')).toBe('wrote')
    old.signal('SIGCONT')
    expect(await old.write('mine', 'old')).toBe('cluster.member_evicted')
    await until('it knows', () => old.self().some(({ reason }) => reason === 'replaced'))
    await old.leave()
    await until('all is told', () => watcher.heardOf('a').at(-1) === 'joined')
    expect(watcher.heardOf('a').slice(-2)).toEqual(['dead replaced', 'joined'])
    expect((await context.notes.get('mine')).value).toBe('new')
    expect((await context.notes.get('mine')).boundTo).toEqual({ instance: 'a', generation })
  })
})
