import { memoryTransport } from 'concordat/memory'
import { closeOnSignals, createService, type SignalHandling } from 'concordat/service'
import { afterEach, describe, expect, it } from 'vitest'
import type { CloseOnSignalsOptions } from '../support/inside/service.ts'
import { drain, FakeClock } from '../support/locks/fake-clock.ts'
import { gate } from '../support/until.ts'

/** A signal without another listener here. Sent within the process: `processes.int.test.ts` sends real ones. */
const SIGNAL = 'SIGUSR2'
const send = (): boolean => process.emit(SIGNAL, SIGNAL)

let handling: SignalHandling | undefined
afterEach(() => handling?.stop())

function wire(options: Partial<CloseOnSignalsOptions>): SignalHandling {
  handling = closeOnSignals({ elections: [], signals: [SIGNAL], exit: false, ...options })
  return handling
}

describe('closeOnSignals', () => {
  it('closes the elections together, and only then the rest, one by one, in the order given', async () => {
    const log: string[] = []
    const hold = gate()
    const part = (name: string, until: Promise<void> = Promise.resolve()) => ({
      close: async () => {
        log.push(`${name} closes`)
        await until
        log.push(`${name} is closed`)
      },
    })
    const { closed } = wire({
      elections: [part('a', hold.opened), part('b')],
      after: [part('binder'), () => log.push('a function')],
    })
    send()
    await drain()
    expect(log).toEqual(['a closes', 'b closes', 'b is closed'])
    hold.open()
    await closed
    expect(log.slice(3)).toEqual(['a is closed', 'binder closes', 'binder is closed', 'a function'])
  })

  it('listens from its call until the first signal, and not before or after', async () => {
    const before = process.listenerCount(SIGNAL)
    const { closed } = wire({})
    expect(process.listenerCount(SIGNAL)).toBe(before + 1)
    send()
    expect(process.listenerCount(SIGNAL)).toBe(before)
    await closed
    const other = wire({})
    other.stop()
    other.stop()
    expect(process.listenerCount(SIGNAL)).toBe(before)
  })

  it('continues after a part that fails to close', async () => {
    const log: string[] = []
    const fail = (): never => {
      throw new Error('no')
    }
    const { closed } = wire({
      elections: [{ close: fail }, { close: () => Promise.reject(new Error('no')) }],
      after: [fail, () => log.push('the last')],
    })
    send()
    await closed
    expect(log).toEqual(['the last'])
  })

  it('closes a part that is a function with a `close`, and does not call it', async () => {
    const log: string[] = []
    const page = Object.assign(() => log.push('called'), { close: () => log.push('closed') })
    const { closed } = wire({ after: [page] })
    send()
    await closed
    expect(log).toEqual(['closed'])
  })

  it('does not wait longer than timeoutMs', async () => {
    const clock = new FakeClock()
    const { closed } = wire({ elections: [{ close: () => new Promise(() => {}) }], timeoutMs: 5_000, clock })
    send()
    await clock.advance(5_000)
    await closed
  })

  it.for([
    ['an unknown option', { election: [] }, 'Did you mean "elections"?'],
    ['one election', { elections: { close: () => {} } }, 'closeOnSignals.elections: expected a list'],
    ['a promise', { after: [Promise.resolve()] }, 'closeOnSignals.after[0]: expected something with close()'],
    ['a signal that cannot be caught', { signals: ['SIGKILL'] }, 'closeOnSignals.signals: expected signals'],
    ['a signal that does not exist', { signals: ['SIGTREM'] }, 'closeOnSignals.signals: expected signals'],
    ['no time', { timeoutMs: 0 }, 'closeOnSignals.timeoutMs'],
  ] as const)('refuses %s', ([, options, message]) => {
    expect(() => wire(options as never)).toThrow(message)
  })
})

describe('closeOnSignals of a service', () => {
  it('closes the service first, then what `then` lists, in the order given', async () => {
    const log: string[] = []
    const shop = createService({ name: 'shop', transport: memoryTransport() })
    await shop.start()
    const closed = shop.closeOnSignals({
      signals: [SIGNAL],
      exit: false,
      // oxlint-disable-next-line unicorn/no-thenable -- options, which is never awaited
      then: [() => log.push(shop.health().status), { close: () => log.push('the pool') }],
    })
    send()
    await closed
    expect(log).toEqual(['down', 'the pool'])
  })

  it('refuses an option that it does not have, such as `after`', () => {
    const shop = createService({ name: 'shop', transport: memoryTransport() })
    const options = { after: [] } as object
    expect(() => shop.closeOnSignals(options)).toThrow('service.closeOnSignals.after: expected one of then')
  })
})
