// oxlint-disable no-restricted-imports -- tests what users do not import
import { once } from 'node:events'
import { connect } from 'node:net'
import { Worker } from 'node:worker_threads'
import { DAY, HOUR, MINUTE, SECOND, systemClock } from 'concordat/core'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { virtualTimeIn } from '../../core/clock.ts'
import { within } from '../../core/time-limit.ts'

afterEach(() => {
  vi.useRealTimers()
})

describe('a duration that is longer than what Node can wait for at once', () => {
  it.each([2 ** 31, 2 ** 31 + 5, 60 * DAY, 100 * DAY])('is kept: %d ms', async (durationMs) => {
    vi.useFakeTimers()
    const over: string[] = []
    systemClock.setTimer(durationMs, () => over.push('timer'))
    const slept = systemClock.sleep(durationMs).then(() => over.push('sleep'))
    const cancel = systemClock.setTimer(durationMs, () => over.push('cancelled'))
    const ending = new AbortController()
    const aborted = systemClock.sleep(Number.POSITIVE_INFINITY, ending.signal)
    await vi.advanceTimersByTimeAsync(durationMs - 1)
    expect(over).toEqual([])
    cancel()
    await vi.advanceTimersByTimeAsync(1)
    await slept
    expect(over).toEqual(['timer', 'sleep'])
    ending.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('systemClock.sleep', () => {
  it('resolves after the duration, not before', async () => {
    vi.useFakeTimers()
    let awake = false
    const slept = systemClock.sleep(5 * SECOND).then(() => (awake = true))
    await vi.advanceTimersByTimeAsync(5 * SECOND - 1)
    expect(awake).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    await slept
    expect(awake).toBe(true)
  })

  it('rejects with the reason as soon as the signal aborts, and leaves no timer', async () => {
    vi.useFakeTimers()
    const controller = new AbortController()
    const slept = systemClock.sleep(HOUR, controller.signal)
    controller.abort(new RangeError('enough'))
    await expect(slept).rejects.toThrow(new RangeError('enough'))
    expect(vi.getTimerCount()).toBe(0)
  })

  it('rejects at once when the signal has aborted before', async () => {
    await expect(systemClock.sleep(HOUR, AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  })

  it('wraps a reason that is no error', async () => {
    await expect(systemClock.sleep(HOUR, AbortSignal.abort('text'))).rejects.toMatchObject({
      message: 'aborted',
      cause: 'text',
    })
  })

  it('removes its listener from the signal after the sleep', async () => {
    const { signal } = new AbortController()
    const removed = vi.spyOn(signal, 'removeEventListener')
    await systemClock.sleep(0, signal)
    expect(removed).toHaveBeenCalledWith('abort', expect.any(Function))
  })

  it('waits the longest time a timer can instead of firing at once', async () => {
    vi.useFakeTimers()
    const controller = new AbortController()
    let awake = false
    const slept = systemClock.sleep(365 * DAY, controller.signal).then(() => (awake = true))
    await vi.advanceTimersByTimeAsync(24 * DAY)
    expect(awake).toBe(false)
    controller.abort(new Error('over'))
    await expect(slept).rejects.toThrow('over')
  })
})

describe('systemClock.setTimer', () => {
  it('calls back once', () => {
    vi.useFakeTimers()
    const callback = vi.fn()
    systemClock.setTimer(MINUTE, callback)
    vi.advanceTimersByTime(10 * MINUTE)
    expect(callback).toHaveBeenCalledTimes(1)
  })

  it('never calls back after it was cancelled', () => {
    vi.useFakeTimers()
    const callback = vi.fn()
    systemClock.setTimer(MINUTE, callback)()
    vi.advanceTimersByTime(10 * MINUTE)
    expect(callback).not.toHaveBeenCalled()
  })

  it.for([MINUTE, Number.POSITIVE_INFINITY])('keeps the process alive only if it is to: %d ms', (durationMs) => {
    const alive = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = alive()
    const cancel = systemClock.setTimer(durationMs, () => {})
    expect(alive()).toBe(before)
    const letExit = systemClock.setTimer(durationMs, () => {}, true)
    expect(alive()).toBe(before + 1)
    letExit()
    expect(alive()).toBe(before)
    cancel()
  })
})

describe('a process that stood still', () => {
  it('reads its sockets before a limit is over', async () => {
    const hasAnswered = new Int32Array(new SharedArrayBuffer(4))
    await using peer = await startPeer(hasAnswered)
    const answer = once(peer.socket, 'data').then(String)
    const limited = within(systemClock, 50, answer, 'no answer')
    peer.socket.write('question')
    // Blocks the event loop of this thread until the answer has arrived and the time limit is over.
    Atomics.wait(hasAnswered, 0, 0)
    standStill(100)
    expect(await limited).toBe('answer')
  })

  it('still ends a wait without an answer', async () => {
    const limited = within(systemClock, 50, new Promise(() => {}), 'no answer')
    standStill(100)
    expect(await limited).toBe('no answer')
  })

  it('fires late timers at once on virtual time, where the order of all calls is decided by the simulator', async () => {
    const undo = virtualTimeIn(() => true)
    onTestFinished(undo)
    const order: string[] = []
    setTimeout(() => order.push('before'), 40)
    systemClock.setTimer(50, () => order.push('limit'))
    setTimeout(() => order.push('after'), 60)
    standStill(100)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(order).toEqual(['before', 'limit', 'after'])
  })

  it('never calls back after it was cancelled while the sockets are read', async () => {
    const callback = vi.fn()
    setTimeout(() => setImmediate(cancel), 40)
    const cancel = systemClock.setTimer(50, callback)
    standStill(100)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(callback).not.toHaveBeenCalled()
  })
})

it('systemClock.monotonic never goes back', () => {
  const samples = Array.from({ length: 1_000 }, () => systemClock.monotonic())
  expect(samples.toSorted((a, b) => a - b)).toEqual(samples)
})

function standStill(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs)
}

/** A connection to a server in another thread, which answers all that it gets and then sets `hasAnswered`. */
async function startPeer(hasAnswered: Int32Array) {
  const code = `
    const { workerData, parentPort } = require('node:worker_threads')
    const sent = () => { Atomics.store(workerData, 0, 1); Atomics.notify(workerData, 0) }
    const server = require('node:net').createServer((socket) => socket.on('data', () => socket.write('answer', sent)))
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`
  const worker = new Worker(code, { eval: true, workerData: hasAnswered })
  const [port] = await once(worker, 'message')
  const socket = connect(port as number, '127.0.0.1')
  await once(socket, 'connect')
  const dispose = async (): Promise<void> => {
    socket.destroy()
    await worker.terminate()
  }
  return { socket, [Symbol.asyncDispose]: dispose }
}
