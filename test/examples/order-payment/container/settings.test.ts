import { hostname } from 'node:os'
import { describe, expect, test } from 'vitest'
import { readSettings, SettingError } from '../../../../examples/order-payment/container/settings.ts'

const GIVEN = {
  SERVICE: 'payments',
  POSTGRES_URL: 'postgres://shop:secret@db/shop',
  REDIS_URL: 'redis://:secret@cache',
  RABBITMQ_URL: 'amqp://shop:secret@broker',
}

describe('the settings of a container', () => {
  test('the instance is the name of the container unless another is given', () => {
    expect(readSettings(GIVEN)).toEqual({
      service: 'payments',
      instance: hostname(),
      runId: 'main',
      transport: 'rabbitmq',
      broker: GIVEN.RABBITMQ_URL,
      postgres: GIVEN.POSTGRES_URL,
      redis: GIVEN.REDIS_URL,
      port: 8080,
      closeTimeoutMs: 30_000,
      logLevel: 'info',
    })
    expect(readSettings({ ...GIVEN, INSTANCE: 'payments-7f9-x2' }).instance).toBe('payments-7f9-x2')
  })

  test('PostgreSQL alone needs no broker and no Redis', () => {
    const settings = readSettings({ SERVICE: 'stock', TRANSPORT: 'postgres', POSTGRES_URL: GIVEN.POSTGRES_URL })
    expect(settings).toMatchObject({ transport: 'postgres', broker: GIVEN.POSTGRES_URL, redis: undefined })
  })

  test.each([
    [{ SERVICE: undefined }, 'SERVICE is not set: give the container its value, as compose.yaml does'],
    [{ SERVICE: 'shipping' }, 'SERVICE: expected receipts, stock, payments or orders, got "shipping"'],
    [
      { POSTGRES_URL: 'mysql://u:secret@h' },
      'POSTGRES_URL: expected an address that begins with postgres:// or postgresql://',
    ],
    [{ RABBITMQ_URL: '' }, 'RABBITMQ_URL is not set: give the container its value, as compose.yaml does'],
    [{ TRANSPORT: 'kafka' }, 'KAFKA_BROKERS is not set: give the container its value, as compose.yaml does'],
    [{ TRANSPORT: 'kafka', KAFKA_BROKERS: 'k' }, 'KAFKA_BROKERS: expected HOST:PORT, or several with commas, got "k"'],
    [{ INSTANCE: 'a b' }, 'INSTANCE: expected 1 to 100 characters out of a-z A-Z 0-9 _ . -, got "a b"'],
    [{ CLOSE_TIMEOUT_MS: '30s' }, 'CLOSE_TIMEOUT_MS: expected a whole number from 1 to 3600000, got "30s"'],
  ])('%j is refused by name, and no password is shown', (wrong, message) => {
    expect(() => readSettings({ ...GIVEN, ...wrong })).toThrow(new SettingError(message))
  })
})
