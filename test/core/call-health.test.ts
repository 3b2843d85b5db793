// oxlint-disable no-restricted-imports -- tests what users do not import
import { describe, expect, it } from 'vitest'
import { CallHealth } from '../../core/call-health.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

const ours = new Error('not reached')

function setup() {
  const clock = new FakeClock()
  const server = { isUp: true, probes: 0 }
  const probe = async (): Promise<void> => {
    server.probes++
    if (!server.isUp) throw ours
  }
  const health = new CallHealth({ clock, probe, isFailure: (error) => error === ours })
  const call = (): Promise<void> => health.track(server.isUp ? Promise.resolve() : Promise.reject(ours), 'write')
  return { clock, server, health, call }
}

describe('the health of calls', () => {
  it('is idle before the first call, without probes', async () => {
    const { clock, server, health } = setup()
    await clock.advance(60_000)
    expect(health.state()).toEqual({ status: 'idle' })
    expect(server.probes).toBe(0)
  })

  it('is the result of the last call', async () => {
    const { server, health, call } = setup()
    await call()
    expect(health.state()).toEqual({ status: 'up' })
    server.isUp = false
    await expect(call()).rejects.toThrow()
    expect(health.state()).toEqual({ status: 'down', detail: 'not reached' })
    server.isUp = true
    await call()
    expect(health.state()).toEqual({ status: 'up' })
  })

  it('is up again with a call that other transactions were in the way of, since the server answered it', async () => {
    const { server, health, call } = setup()
    server.isUp = false
    await expect(call()).rejects.toThrow()
    const conflict = Object.assign(new Error('could not serialize access'), { code: '40001' })
    await expect(health.track(Promise.reject(conflict), 'write')).rejects.toThrow()
    expect(health.state()).toEqual({ status: 'up' })
  })

  it('is not hidden by calls of another kind that succeed', async () => {
    const { clock, server, health, call } = setup()
    const reads = async (seconds: number): Promise<readonly string[]> => {
      const statuses: string[] = []
      for (let n = 0; n < seconds; n++) {
        await health.track(Promise.resolve(), 'read')
        statuses.push(health.state().status)
        await clock.advance(1_000)
      }
      return statuses
    }
    server.isUp = false
    await expect(call()).rejects.toThrow()
    expect(new Set(await reads(20))).toEqual(new Set(['down']))
    server.isUp = true
    expect((await reads(10)).at(-1)).toBe('up')
  })

  it('is not hidden by a probe that succeeds while calls of a kind keep failing', async () => {
    const { clock, server, health } = setup()
    const statuses: string[] = []
    for (let n = 0; n < 40; n++) {
      if (n % 4 === 0) await health.track(Promise.reject(ours), 'write').catch(() => {})
      await clock.advance(1_000)
      statuses.push(health.state().status)
    }
    expect(server.probes).toBeGreaterThan(5)
    expect(new Set(statuses)).toEqual(new Set(['down']))
    await clock.advance(10_000)
    expect(health.state()).toEqual({ status: 'up' })
  })

  it('goes down within ten seconds when the server of an idle part stops', async () => {
    const { clock, server, health, call } = setup()
    await call()
    server.isUp = false
    await clock.advance(10_000)
    expect(health.state()).toEqual({ status: 'down', detail: 'not reached' })
  })

  it('comes back within ten seconds after a failure without any further call', async () => {
    const { clock, server, health, call } = setup()
    server.isUp = false
    await expect(call()).rejects.toThrow()
    await clock.advance(60_000)
    expect(health.state().status).toBe('down')
    server.isUp = true
    await clock.advance(10_000)
    expect(health.state()).toEqual({ status: 'up' })
  })

  it('sends no probes while calls are made', async () => {
    const { clock, server, call } = setup()
    for (let n = 0; n < 60; n++) {
      await call()
      await clock.advance(1_000)
    }
    expect(server.probes).toBe(0)
  })

  it('ignores an error that does not concern the server', async () => {
    const { health, call } = setup()
    await call()
    await expect(health.track(Promise.reject(new Error('the caller gave up')), 'write')).rejects.toThrow()
    expect(health.state()).toEqual({ status: 'up' })
  })

  it('leaves no timer behind once it is closed', async () => {
    const { clock, health, call } = setup()
    await call()
    health.close()
    expect(clock.pendingTimers).toBe(0)
    await call()
    expect(clock.pendingTimers).toBe(0)
  })
})
