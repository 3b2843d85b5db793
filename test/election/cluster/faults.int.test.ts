import type { Membership } from 'concordat/cluster'
import { redisStateStore } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterEach, expect, it } from 'vitest'
import { clusterOn, FAST } from '../../support/cluster/on-redis.ts'
import type { StateEvent } from '../../support/inside/election.ts'
import { describeWith, serverClock, serverClockLack, startServer, withRedis } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const typesOf = (events: readonly { readonly type: string }[]): string[] => events.map(({ type }) => type)
const generationsOf = (members: readonly Membership[]): unknown[] => members.map((one) => one.status().generation)

describeWith(['redis'], 'cluster state on a Redis that keeps nothing', { private: true }, () => {
  const { context, link, member, members, state, events, store } = clusterOn(() => startServer('redis'))

  it('a Redis that is frozen for longer than the death timeout kills no member', async () => {
    const all = await members('a', 'b', 'c')
    const generations = generationsOf(all)
    const heard = events(all[0] as Membership)
    const signals = all.map((one) => one.self()?.signal as AbortSignal)
    await until('the watch has begun', () => heard.length === 1)
    context.server.pause()
    await until('all count themselves as isolated', () => signals.every((signal) => signal.aborted))
    const frozenAt = performance.now()
    await until('it is frozen for long', () => performance.now() - frozenAt > FAST.deadAfterMs + 300)
    expect(all.map((one) => one.status().state)).toEqual(['isolated', 'isolated', 'isolated'])
    expect(all.every((one) => one.members().length === 3)).toBe(true)
    context.server.resume()
    await until('all are back', () => all.every((one) => one.self() !== undefined))
    expect(generationsOf(all)).toEqual(generations)
    const back = performance.now()
    await until('all stay', () => performance.now() - back > FAST.deadAfterMs)
    expect(typesOf(heard).filter((type) => type === 'dead' || type === 'left')).toEqual([])
    expect(generationsOf(all)).toEqual(generations)
  })

  it('a Redis that restarts empty is filled by the members: same generations, no member dies', async () => {
    const all = await members('a', 'b', 'c')
    const generations = generationsOf(all)
    const heard = events(all[0] as Membership)
    await until('the watch has begun', () => heard.length === 1)
    await context.server.kill()
    const killedAt = performance.now()
    await until('it is away for long', () => performance.now() - killedAt > FAST.deadAfterMs)
    await context.server.start()
    await until('all are back', () => all.every((one) => one.self() !== undefined))
    expect(generationsOf(all)).toEqual(generations)
    await until('the watch goes on', () => typesOf(heard).includes('resync'))
    for (const { view } of heard) expect(view.members).toHaveLength(3)
    const newcomer = member('d')
    await newcomer.join()
    expect(newcomer.members()).toHaveLength(4)
    expect(newcomer.self()?.generation).toBeGreaterThan(Math.max(...(generations as number[])))
  })

  it('a member cut off from the store stops itself before the others call it dead, and comes back anew', async () => {
    const near = await link()
    const lonely = member('lonely', { store: near.store })
    const [other] = (await members('other')) as [Membership]
    const presence = await lonely.join()
    const heard = events(other)
    let isolatedAt = 0
    let deadAt = 0
    presence.signal.addEventListener('abort', () => (isolatedAt = performance.now()))
    other.watch((event) => {
      if (event.type === 'dead') deadAt = performance.now()
    })
    near.link.hold('both')
    await until('it is declared dead', () => deadAt > 0)
    expect(isolatedAt).toBeGreaterThan(0)
    expect(isolatedAt).toBeLessThan(deadAt)
    expect(() => presence.assertValid()).toThrow(expect.objectContaining({ code: 'cluster.member_isolated' }))
    expect(lonely.members().map(({ instance }) => instance)).toContain('other')
    near.link.heal()
    await until('it is back', () => (lonely.self()?.generation ?? 0) > presence.generation)
    await until('the other sees it', () => other.members().length === 2)
    const about = heard.filter((event) => 'member' in event && event.member.instance === 'lonely')
    expect(typesOf(about)).toEqual(['joined', 'suspect', 'dead', 'joined'].slice(-about.length))
    expect(typesOf(about)).toEqual(expect.arrayContaining(['suspect', 'dead', 'joined']))
  })

  it('a heartbeat that arrives late, from an ended generation, changes nothing', async () => {
    const near = await link()
    const [other] = (await members('other')) as [Membership]
    const first = member('a', { store: near.store, heartbeatMs: 20 })
    await first.join()
    near.link.hold('requests')
    await until('some are held', () => near.link.bitten > 0)
    const second = member('a')
    const { generation } = await second.join()
    near.link.heal()
    await until('the old one knows', () => first.status().state === 'evicted')
    await until('the other sees the new one', () => {
      return other.members().some(({ instance, generation: seen }) => instance === 'a' && seen === generation)
    })
    second.self()?.assertValid()
  })

  it('a closed store lets go of Redis in every state: connecting, blocked, cut off, never used', async () => {
    const near = await link()
    const [unused, blocked, cut] = [store(), store(), near.store]
    await state({ store: blocked }).mirror()
    await state({ store: cut }).mirror()
    near.link.cut()
    const connecting = redisStateStore({ url: 'redis://127.0.0.1:1' })
    const reading = connecting.members('c').catch((error: unknown) => error)
    for (const each of [unused, blocked, cut, connecting]) await each.close()
    expect(await reading).toMatchObject({ code: expect.stringMatching(/^cluster\./) })
    await until('no connection is left', async () => {
      const clients = (await withRedis(context.server, (client) => client.client('LIST'))) as string
      return !clients.includes('name=concordat-cluster')
    })
  })

  it('refuses permanently when our key has another type, and when it may not write', async () => {
    const mine = state()
    await withRedis(context.server, (client) => client.set('concordat:cluster:{s}:data:state/s', 'x'))
    await expect(mine.put('k', 1)).rejects.toMatchObject({ code: 'cluster.store_refused', retryable: false })
    await withRedis(context.server, (client) => client.call('ACL', 'SETUSER', 'reader', 'on', '>p', '~*', '+@read'))
    const client = new Redis(context.server.url, { username: 'reader', password: 'p', lazyConnect: true })
    const refused = await store({ client, url: undefined })
      .members('c')
      .catch((caught: unknown) => caught)
    expect(refused).toMatchObject({ code: 'cluster.store_refused' })
    expect(client.status).toBe('wait')
  })
})

describeWith(['redis'], 'cluster state on a Redis that keeps every write', { private: true }, () => {
  const settings = { appendonly: 'yes', appendfsync: 'always' }
  const { context, members, state, events } = clusterOn(() => startServer('redis', { settings }))

  it('is down for longer than the death timeout, and comes back: no member is dead, nothing written is lost', async () => {
    const all = await members('a', 'b')
    const generations = generationsOf(all)
    const heard = events(all[0] as Membership)
    const [writer, watcher] = [state({ cluster: 'c' }), state({ cluster: 'c' })]
    const seen: StateEvent<number>[] = []
    const presence = await (all[0] as Membership).join()
    await writer.put('k', 1, { boundTo: presence })
    watcher.watch((event) => void seen.push(event))
    await until('both watches have begun', () => seen.length === 1 && heard.length === 1)
    await context.server.kill()
    const killedAt = performance.now()
    await until('it is away for long', () => performance.now() - killedAt > FAST.deadAfterMs + 200)
    await context.server.start()
    await until('all are back', () => all.every((one) => one.self() !== undefined))
    await writer.update('k', (value) => (value ?? 0) + 1)
    await until('the watch goes on', () => seen.length === 2)
    expect(seen[1]).toMatchObject({ type: 'change', changes: [{ key: 'k', value: 2 }] })
    expect(generationsOf(all)).toEqual(generations)
    expect(typesOf(heard).filter((type) => type === 'dead' || type === 'resync')).toEqual([])
  })
})

const lack = serverClockLack()
const whyNot = lack === undefined ? '' : ` (${lack})`

describeWith(['redis'], `cluster state on a Redis whose clock is set${whyNot}`, { private: true }, () => {
  let clock: Awaited<ReturnType<typeof serverClock>>
  const { members, state, events, member, link } = clusterOn(async () => {
    clock = await serverClock()
    return startServer('redis', { env: clock.env })
  })
  afterEach(() => clock.dispose())

  it.skipIf(lack !== undefined)('kills no live member, still declares dead ones, and raises versions', async () => {
    const all = await members('a', 'b')
    const generations = generationsOf(all)
    const heard = events(all[0] as Membership)
    const mine = state()
    let last = 0
    for (const shiftMs of [3_600_000, -3_600_000, 0, -10_000, 10_000]) {
      clock.shift(shiftMs)
      const shiftedAt = performance.now()
      const { version } = await mine.put('k', shiftMs)
      expect(version).toBeGreaterThan(last)
      last = version
      await until('some heartbeats have passed', () => performance.now() - shiftedAt > 2 * FAST.suspectAfterMs)
      expect(generationsOf(all)).toEqual(generations)
    }
    expect(typesOf(heard).filter((type) => type === 'dead')).toEqual([])
    const near = await link()
    const late = member('late', { store: near.store })
    const joined = await late.join()
    expect(joined.generation).toBeGreaterThan(Math.max(...(generations as number[])))
    near.link.hold('both')
    await until('it is dead', () => heard.some((event) => event.type === 'dead' && event.member.instance === 'late'))
  })
})
