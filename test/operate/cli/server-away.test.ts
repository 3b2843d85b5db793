// oxlint-disable no-restricted-imports -- inside of the command line: errors of drivers, and what is said of them
import { type AddressInfo, createServer } from 'node:net'
import { failureName } from '@concordat/cli/words'
import { TransportError } from 'concordat/binder'
import { expect, onTestFinished, test } from 'vitest'
import { failureText } from '../../../packages/cli/commands/failure-text.ts'
import { namingTheServer, ServerAway } from '../../../packages/cli/commands/server-away.ts'
import { ranHere } from '../support/cli.ts'

const said = (error: unknown, values: Readonly<Record<string, string>>): string => {
  const named = namingTheServer(error, { postgres: 'postgres://localhost/shop', ...values }, {})
  return named instanceof ServerAway ? named.message : 'another error'
}

test('a login that MariaDB refuses names the server, its address and the option', () => {
  const error = Object.assign(new Error("Access denied for user 'ann'@'10.0.0.1'"), { code: 'ER_ACCESS_DENIED_ERROR' })
  expect(said(error, { mysql: 'mysql://ann:secret@db:3306/xa' })).toBe(
    "MariaDB or MySQL at db:3306/xa does not let this command in: Access denied for user 'ann'@'10.0.0.1'. Check the user, its password and the database in --mysql",
  )
})

test('a login that RabbitMQ refuses names the server, its address and the option', () => {
  const why = 'could not connect to RabbitMQ: Handshake terminated by server: 403 (ACCESS-REFUSED)'
  const error = new TransportError({ transport: 'rabbitmq', kind: 'unavailable', message: why })
  expect(said(error, { rabbitmq: 'amqp://ann:secret@mq:5672' })).toBe(
    `RabbitMQ at mq:5672 does not let this command in: ${why}. Check the user, its password and its rights in --rabbitmq`,
  )
})

test('a server without TLS, or with a certificate that is not accepted, is named with what to look at', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.write('N'))
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  const at = `postgres://u:Secret@127.0.0.1:${port}/d?sslmode=verify-full`
  expect(await ranHere(['saga', 'list', '--postgres', at], {})).toEqual({
    stdout: '',
    stderr: `concordat: no TLS connection to PostgreSQL at 127.0.0.1:${port}/d: The server does not support SSL connections. Check whether it offers TLS, its certificate, and sslmode or ssl in --postgres\n`,
    code: 3,
  })
  const error = Object.assign(new Error('self-signed certificate'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  expect(said(error, {})).toContain('no TLS connection to PostgreSQL at localhost:5432/shop: self-signed certificate')
})

const UNSURE = 'It may have been done, or a part of it'

test('an action whose answer was lost may have been done; one that never reached the server was not', () => {
  const of = (error: Error) => (namingTheServer(error, { postgres: 'postgres://h/d' }, {}, true) as Error).message
  expect(of(new Error('Query read timeout'))).toContain(UNSURE)
  expect(of(Object.assign(new Error('terminated'), { code: '57P01' }))).toContain(UNSURE)
  expect(of(new Error('timeout exceeded when trying to connect'))).not.toContain(UNSURE)
  expect(of(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))).not.toContain(UNSURE)
})

test('a command that only looks does not say that something may have been done', async () => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const at = ['--postgres', `postgres://u@127.0.0.1:${(server.address() as AddressInfo).port}/d`]
  const why = ['--reason', 'a test', '--yes']
  expect((await ranHere(['outbox', 'drop', 'm-1', ...why, ...at], {})).stderr).toContain(UNSURE)
  expect((await ranHere(['outbox', 'list', ...at], {})).stderr).not.toContain(UNSURE)
  const dry = ['dlq', 'redrive', 'orders', 'stock', '--dry-run', ...why, ...at]
  expect((await ranHere(dry, {})).stderr).not.toContain(UNSURE)
})

test.each(['postgres', 'rabbitmq', 'mysql', 'redis'])(
  'an address of %s that cannot be decoded, or has no slashes, is a mistake',
  async (option) => {
    const scheme = { postgres: 'postgres', rabbitmq: 'amqp', mysql: 'mysql', redis: 'redis' }[option]
    for (const address of [`${scheme}://u:%Secret@h/d`, `${scheme}:u:Secret@127.0.0.1:1/d`]) {
      const args = ['doctor', '--postgres', 'postgres://h/d', `--${option}`, address]
      const command = option === 'redis' ? ['locks', 'list', ...args.slice(1)] : args
      const { code, stderr } = await ranHere(command, {})
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(`--${option}: expected an address`) })
      expect(stderr).not.toContain('Secret')
    }
  },
)

test('an error without a code is called by its class, else by the first words of its message', () => {
  expect(failureName({ code: 'bank.away', name: 'Error', message: 'x' })).toBe('bank.away')
  expect(failureName({ code: undefined, name: 'CardDeclined', message: 'x' })).toBe('CardDeclined')
  expect(failureName({ code: 'Error', message: 'the bank refuses refunds to eve since yesterday' })).toBe(
    'the bank refuses refunds to eve...',
  )
  expect(failureName({ code: 'Error', message: '' })).toBe('Error')
  expect(failureText({ code: 'Error', message: 'the bank is away' })).toBe('the bank is away')
  expect(failureText({ code: 'bank.away', message: 'it is' })).toBe('bank.away: it is')
})
