import { describe, expect, test } from 'vitest'
import { parseOptions, UsageError } from '../../../examples/order-payment/options.ts'

const SERVERS = ['--postgres', 'postgres://u:secret@h/db', '--redis', 'redis://h']
const KAFKA = ['--transport', 'kafka', '--kafka', 'h:9092', ...SERVERS]

test('the default is embedded, in memory, with the bundled files', () => {
  expect(parseOptions([])).toEqual({
    mode: 'embedded',
    data: undefined,
    files: { orders: undefined, accounts: undefined, stock: undefined },
    report: undefined,
    pausePaymentsAt: undefined,
    logLevel: 'error',
  })
})

test('a broker makes it distributed, with one process per service and a run id of its own', () => {
  const options = parseOptions(KAFKA)
  expect(options).toMatchObject({
    mode: 'distributed',
    transport: 'kafka',
    broker: 'h:9092',
    processes: 1,
    kill: 0,
    keep: false,
  })
  expect(options).not.toEqual(parseOptions(KAFKA))
})

test('all the flags are parsed', () => {
  const rabbit = ['--transport', 'rabbitmq', '--rabbitmq', 'amqp://h', ...SERVERS]
  const options = parseOptions([
    ...rabbit,
    '--processes',
    '2',
    '--kill',
    '10',
    '--seed',
    '7',
    '--run-id',
    'a_1',
    '--keep',
    '--orders',
    '-',
  ])
  expect(options).toMatchObject({ processes: 2, kill: 10, seed: 7, runId: 'a_1', keep: true, files: { orders: '-' } })
})

test('payments may be paused in every mode, also before the first order', () => {
  expect(parseOptions(['--pause-payments-at', '200'])).toMatchObject({ mode: 'embedded', pausePaymentsAt: 200 })
  expect(parseOptions([...KAFKA, '--pause-payments-at', '0'])).toMatchObject({ pausePaymentsAt: 0 })
})

describe('a mistake is reported in one line with the remedy', () => {
  test.each([
    [['--nonsense'], /Unknown option '--nonsense': see npm start -- --help/],
    [['orders.jsonl'], /Unexpected argument 'orders.jsonl'/],
    [['--orders'], /--orders/],
    [['--orders', ''], '--orders is empty: give it a value or leave it out'],
    [['--transport', 'nats'], '--transport: expected memory, kafka, rabbitmq or postgres, got "nats"'],
    [['--kill', '3'], /--kill needs --transport kafka, rabbitmq or postgres/],
    [['--processes', '2'], /--processes needs --transport/],
    [['--transport', 'kafka'], /--transport kafka needs --kafka: start servers with "npm run servers"/],
    [['--transport', 'kafka', '--kafka', 'h:9092'], /needs --postgres/],
    [['--transport', 'rabbitmq', '--rabbitmq', 'amqp://h', '--postgres', 'postgres://h'], /needs --redis/],
    [
      ['--transport', 'kafka', '--kafka', 'h', ...SERVERS],
      '--kafka: expected HOST:PORT, or several with commas, got "h"',
    ],
    [[...KAFKA, '--rabbitmq', 'amqp://h'], /--rabbitmq does not go with --transport kafka/],
    [['--transport', 'postgres'], /--transport postgres needs --postgres/],
    [['--transport', 'postgres', ...SERVERS], /--redis does not go with --transport postgres: drop one/],
    [[...KAFKA, '--data', 'x'], /--data is for the embedded run/],
    [[...KAFKA, '--processes', '0'], '--processes: expected a whole number from 1 to 8, got "0"'],
    [[...KAFKA, '--processes', '2.5'], /--processes: expected a whole number/],
    [[...KAFKA, '--kill', '-1'], /--kill/],
    [[...KAFKA, '--seed', 'x'], /--seed: expected a whole number/],
    [[...KAFKA, '--run-id', 'A b'], /--run-id: expected 1 to 20 characters/],
    [
      ['--transport', 'kafka', '--kafka', 'h:1', '--postgres', 'mysql://u:secret@h', '--redis', 'redis://h'],
      /--postgres: expected an address that begins with postgres:\/\//,
    ],
    [['--pause-payments-at', ''], '--pause-payments-at is empty: give it a value or leave it out'],
    [['--pause-payments-at', '-1'], /--pause-payments-at/],
    [['--pause-payments-at', '2.5'], '--pause-payments-at: expected a whole number from 0 to 1000000000, got "2.5"'],
    [['--pause-payments-at', 'soon'], /--pause-payments-at: expected a whole number/],
    [['--log-level', 'loud'], /--log-level: expected silent, error, warn, info or debug/],
  ])('%j', (argv, message) => {
    const error = fails(() => parseOptions(argv))
    expect(error).toBeInstanceOf(UsageError)
    if (message instanceof RegExp) expect(error.message).toMatch(message)
    else expect(error.message).toBe(message)
    expect(error.message).not.toMatch(/\n|secret/)
  })
})

function fails(work: () => unknown): Error {
  try {
    work()
  } catch (error) {
    return error as Error
  }
  throw new Error('expected it to throw')
}
