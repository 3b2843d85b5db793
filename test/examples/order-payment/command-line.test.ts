import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Ended, folder, start } from './support/command.ts'

const LIMIT_MS = 60_000
const GOOD = '{"orderId":"o-1","customer":"c","card":"tok_ok","lines":[{"sku":"s","quantity":1,"unitPriceCents":1}]}'
/** Address on which nothing listens. */
const NOWHERE = '127.0.0.1:1'

describe('a mistake of the caller', { timeout: LIMIT_MS }, () => {
  const file = (name: string, content: string) => ({ name, content })
  test.each<[string, readonly string[], RegExp, ...Array<{ name: string; content: string }>]>([
    ['an unknown flag', ['--nonsense'], /Unknown option '--nonsense'/],
    ['an unknown transport', ['--transport', 'nats'], /--transport: expected memory, kafka, rabbitmq or postgres/],
    [
      'a missing orders file',
      ['--orders', 'DIR/none.jsonl'],
      /none\.jsonl does not exist: pass an existing file with --orders/,
    ],
    ['a folder for a file', ['--orders', 'DIR'], /is a folder: pass a file with --orders/],
    ['a missing accounts file', ['--accounts', 'DIR/none.json'], /none\.json does not exist: .* --accounts/],
    ['a missing stock file', ['--stock', 'DIR/none.json'], /none\.json does not exist: .* --stock/],
    ['accounts that are no JSON', ['--accounts', 'DIR/a.json'], /a\.json: not JSON/, file('a.json', '{')],
    [
      'accounts with text',
      ['--accounts', 'DIR/a.json'],
      /a\.json: "c": expected an integer of 0 or more, got "1"/,
      file('a.json', '{"c":"1"}'),
    ],
    ['a list for stock', ['--stock', 'DIR/s.json'], /s\.json: expected an object/, file('s.json', '[1]')],
    [
      'negative stock',
      ['--stock', 'DIR/s.json'],
      /s\.json: "s": expected an integer of 0 or more, got -1/,
      file('s.json', '{"s":-1}'),
    ],
    ['a report into nowhere', ['--report', 'DIR/none/r.json'], /--report: .* cannot be written/],
    [
      'a folder that is not ours for --data',
      ['--data', 'DIR'],
      /holds "x\.txt", which does not belong/,
      file('x.txt', ''),
    ],
    ['a file for --data', ['--data', 'DIR/x.txt'], /--data: .* cannot be used as a folder/, file('x.txt', '')],
    [
      'a place for --data where no folder can be',
      ['--data', '/proc/none/here'],
      /--data: .* cannot be used as a folder \(ENOENT\)/,
    ],
    ['no server named', ['--transport', 'kafka'], /needs --kafka/],
    [
      'a server that is not there',
      [
        '--transport',
        'rabbitmq',
        '--rabbitmq',
        `amqp://${NOWHERE}`,
        '--postgres',
        `postgres://u:secret@${NOWHERE}/d`,
        '--redis',
        `redis://${NOWHERE}`,
      ],
      /rabbitmq at 127\.0\.0\.1:1 cannot be used \(.*ECONNREFUSED.*\): start it with "npm run servers -- rabbitmq"/,
    ],
    [
      'a Kafka that is not there',
      [
        '--transport',
        'kafka',
        '--kafka',
        NOWHERE,
        '--postgres',
        `postgres://u:secret@${NOWHERE}/d`,
        '--redis',
        `redis://${NOWHERE}`,
      ],
      /kafka at 127\.0\.0\.1:1 cannot be used/,
    ],
  ])('%s: one line with the remedy, exit code 2, nothing started', async (_, args, message, ...files) => {
    await using place = await folder()
    for (const { name, content } of files) await place.file(name, content)
    const before = await readdir(place.path)
    const ended = await start(args.map((arg) => arg.replace('DIR', place.path))).ended
    expect(ended.stderr).toMatch(message)
    expect(ended.stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(ended.stderr).not.toContain('secret')
    expect(ended.stdout).toBe('')
    expect(ended.code).toBe(2)
    expect(await readdir(place.path)).toEqual(before)
  })
})

test('--help lists the flags', { timeout: LIMIT_MS }, async () => {
  const { code, stdout } = await start(['--help']).ended
  expect(stdout).toContain('--orders FILE')
  expect(code).toBe(0)
})

/** Runs a command until the signal ends it, and returns its output. */
async function interrupted(args: readonly string[], signal: NodeJS.Signals, meanwhile = async (): Promise<void> => {}) {
  const running = start(args, { open: true })
  await new Promise<void>((resolve) => running.child.stderr?.once('data', () => resolve()))
  await meanwhile()
  running.child.kill(signal)
  return running.ended
}

/** Orders come through standard input. Each process takes seconds to start, so the tests share the same ones. */
async function livesOfOneFolder() {
  await using place = await folder()
  const data = ['--data', join(place.path, 'data')]
  const flags = await place.orders({ orders: GOOD, accounts: { c: 9 }, stock: { s: 9 } })
  const open = ['--orders', '-', ...flags.slice(2), ...data]
  const beside: Ended[] = []
  const first = await interrupted(open, 'SIGINT', async () => void beside.push(await start(open).ended))
  const second = await interrupted(open, 'SIGTERM')
  return { beside, first, second, third: await place.report([...flags, ...data]) }
}

describe('processes one after the other on the same --data', () => {
  let lives: Awaited<ReturnType<typeof livesOfOneFolder>>
  beforeAll(async () => {
    lives = await livesOfOneFolder()
  }, 6 * LIMIT_MS)

  test('SIGINT and SIGTERM end one in good order', () => {
    expect(lives.first.stderr).toContain('interrupted by SIGINT')
    expect(lives.first.code).toBe(130)
    expect(lives.second.stderr).toContain('interrupted by SIGTERM')
    expect(lives.second.code).toBe(143)
  })

  test('the next one continues', () => {
    expect(lives.third.report.orders).toMatchObject({ read: 1, confirmed: 1 })
  })

  test('a second one is refused while the first runs', () => {
    const [second] = lives.beside
    expect(second?.stderr).toMatch(/is in use by process \d+: wait for it, or pass another folder/)
    expect(second?.code).toBe(2)
  })
})

test('--data continues only with the files it was begun with', { timeout: 2 * LIMIT_MS }, async () => {
  await using place = await folder()
  const data = ['--data', join(place.path, 'data')]
  const first = await place.report([
    ...(await place.orders({ orders: GOOD, accounts: { c: 9 }, stock: { s: 9 } })),
    ...data,
  ])
  const again = await place.report([
    ...(await place.orders({ orders: GOOD, accounts: { c: 9 }, stock: { s: 9 } })),
    ...data,
  ])
  expect(again.report.orders).toEqual(first.report.orders)
  expect(again.report.ledger).toEqual(first.report.ledger)
  const others = await place.orders({ orders: GOOD.replace('o-1', 'o-2'), accounts: { c: 9 }, stock: { s: 9 } })
  const refused = await start([...others, ...data]).ended
  expect(refused.stderr).toMatch(/was created with another orders file/)
  expect(refused.code).toBe(2)
})
