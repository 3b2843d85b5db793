/** A service on a transport that needs secrets. */
import { inspect } from 'node:util'
import { type Binder, createBinder, defineChannel, sink } from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { expect, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { until } from '../../support/until.ts'
import { memoryLogger } from './memory-logger.ts'

const channel = defineChannel('secure', { payload: TestPayload, partitions: 1, groups: ['g'] })

export interface SecureService {
  readonly binder: Binder
  readonly got: readonly number[]
  /** Returns all that it shows of itself, and its log. */
  readonly shown: () => string
}

/** @param driverLines what the driver logs on its own */
export function secureService(transport: Transport, driverLines: readonly string[] = []): SecureService {
  const got: number[] = []
  const { logger, lines } = memoryLogger()
  const work = sink(channel, { group: 'g' }, ({ n }) => void got.push(n))
  const binder = createBinder({ service: 'secure', transport, bindings: [work], logger, sendTimeoutMs: 15_000 })
  onTestFinished(() => binder.close())
  const shown = (): string =>
    [binder.health(), binder.bindings(), binder.describe(), transport, binder, ...lines]
      .map((each) => `${inspect(each, { depth: 20, showHidden: true })}${JSON.stringify(each)}`)
      .concat(driverLines)
      .join('\n')
  return { binder, got, shown }
}

/** Starts it, and expects that it sends a message and receives it. */
export async function expectExchange({ binder, got }: SecureService): Promise<void> {
  await binder.start()
  await binder.ready({ timeoutMs: 60_000 })
  await binder.send(channel, { key: 'k', n: 7 })
  await until('it came', () => got.includes(7))
}

/** Starts it, and expects that it stays connecting, and that its binding says why. */
export async function expectConnecting({ binder }: SecureService, says: RegExp): Promise<void> {
  await binder.start()
  await until('the state says why', () => says.test(binder.bindings()[0]?.error ?? ''))
  expect(binder.bindings()[0]?.state).toBe('connecting')
}

/** Same as `expectConnecting`; `ready` and a send say why, too, and none of these secrets is shown. */
export async function expectRefused(
  service: SecureService,
  says: RegExp,
  kind: 'refused' | 'unavailable',
  secrets: readonly string[],
): Promise<void> {
  const { binder, shown } = service
  await expectConnecting(service, says)
  expect(binder.health()).toMatchObject({ status: 'down', transport: { status: 'down' } })
  let notReady: unknown
  await until('ready() says why', async () => {
    notReady = await binder.ready({ timeoutMs: 1 }).catch((error: unknown) => error)
    return says.test(String(notReady))
  })
  let failed: unknown
  await until('a send says why', async () => {
    failed = await binder.send(channel, { key: 'k', n: 1 }).catch((error: unknown) => error)
    return says.test(String(failed))
  })
  expect(failed).toMatchObject({ code: 'binder.send', retryable: true, cause: { kind } })
  const all = [shown(), inspect(notReady, { depth: 20 }), inspect(failed, { depth: 20, showHidden: true })].join('\n')
  expect(all).toContain('binding has no subscription, connecting')
  for (const secret of secrets) expect(all).not.toContain(secret)
}
