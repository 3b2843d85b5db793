import { EventEmitter } from 'node:events'
import { type Clock, type Logger, silentLogger, systemClock } from 'concordat/core'
import { pgListener } from 'concordat/core/pg'
import { expect, test } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { until } from '../support/until.ts'

/** Server that hangs: it has answered so far, and does not answer the end of the session. */
class Frozen extends EventEmitter {
  isDestroyed = false
  readonly connection = { stream: { destroy: () => void (this.isDestroyed = true) } }
  readonly #connects: boolean
  constructor(connects: boolean) {
    super()
    this.#connects = connects
  }
  connect(): Promise<unknown> {
    return this.#connects ? Promise.resolve() : new Promise(() => {})
  }
  query(): Promise<unknown> {
    return Promise.resolve()
  }
  end(): Promise<void> {
    return new Promise(() => {})
  }
}

test.each([
  ['that listens', true],
  ['that still connects', false],
])('a listener %s to a blocked server closes anyway', async (_, connects) => {
  const made: Frozen[] = []
  const listener = pgListener({
    connect: () => {
      const connection = new Frozen(connects)
      made.push(connection)
      return connection
    },
  })
  listener.listen('orders', () => {})
  await until('it has a connection', () => made.length === 1)
  const since = performance.now()
  await listener.close()
  await expectWithin(performance.now() - since, 10_000)
  expect(made.map(({ isDestroyed }) => isDestroyed)).toEqual([true])
})

test('a listener whose `connect` throws, at first or after a lost connection, warns and calls it again', async () => {
  const { connect } = server({ isPooled: false, passesOn: false })
  const clock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 50, signal) }
  const made: EventEmitter[] = []
  const warned: string[] = []
  const warn = ({ err }: { readonly err: Error }) => void warned.push(err.message)
  let calls = 0
  const listener = pgListener({
    connect: () => {
      calls += 1
      if (calls !== 2) throw new Error('cannot read the rotated password')
      const connection = connect()
      made.push(connection)
      return connection
    },
    logger: { ...silentLogger, warn } as unknown as Logger,
    clock,
  })
  const heard: string[] = []
  listener.listen('orders', (payload) => heard.push(payload))
  await until('the second call connected', () => heard.length === 1)
  made[0]?.emit('end')
  await until('it has called `connect` twice more', () => calls >= 4)
  await listener.close()
  expect(warned[0]).toBe('cannot read the rotated password')
  expect(warned[1]).toBe('the server closed the connection')
  expect(warned[2]).toBe('cannot read the rotated password')
})

/** Connections of one server, direct or through a pooler: LISTEN and NOTIFY, as `pg.Client` has them. */
function server({ isPooled, passesOn }: { readonly isPooled: boolean; readonly passesOn: boolean }) {
  const listening = new Map<string, EventEmitter>()
  const said: string[] = []
  let backends = 0
  const connect = () => {
    const backend = ++backends
    const connection = new EventEmitter()
    const query = (text: string): Promise<unknown> => {
      said.push(`${backend}: ${text.replace(/"concordat_hears_.*"/, 'itself')}`)
      const [, command, channel = ''] = /^(LISTEN|NOTIFY|UNLISTEN) "(.*)"$/.exec(text) ?? []
      if (command === 'LISTEN') listening.set(channel, connection)
      if (command === 'NOTIFY' && passesOn) listening.get(channel)?.emit('notification', { channel })
      return Promise.resolve({ rows: [{ pid: backend }] })
    }
    const end = () => Promise.resolve(void connection.emit('end'))
    return Object.assign(connection, {
      processID: isPooled ? backend + 1_000 : backend,
      connect: () => Promise.resolve(),
      query,
      end,
    })
  }
  return { connect, said }
}

test.each([
  ['warns once, naming the remedy, behind a pooler that passes no notification on', true, false, 1],
  ['does not warn behind a pooler that does', true, true, 0],
  ['neither warns nor makes a second connection without a pooler', false, false, 0],
])('a listener %s', async (_, isPooled, passesOn, warnings) => {
  const { connect, said } = server({ isPooled, passesOn })
  const clock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 50, signal) }
  const warned: string[] = []
  const warn = (...[, text]: readonly unknown[]) => void warned.push(String(text))
  const logger = { ...silentLogger, warn } as Logger
  const listener = pgListener({ connect, logger, clock })
  listener.listen('orders', () => {})
  const last = isPooled ? '1: UNLISTEN itself' : '1: SELECT pg_backend_pid() AS pid'
  await until('it has asked', () => said.includes(last) && warned.length >= warnings)
  await listener.close()
  expect(said).toEqual(
    isPooled
      ? ['1: LISTEN "orders"', '1: SELECT pg_backend_pid() AS pid', '1: LISTEN itself', '2: NOTIFY itself', last]
      : ['1: LISTEN "orders"', last],
  )
  expect(warned.filter((text) => /LISTEN hears nothing: .* session mode/.test(text))).toHaveLength(warnings)
})
