import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { toTransportError } from '../../../binder/rabbitmq/transport-errors.ts'

const amqp = (code: number, message: string): Error => Object.assign(new Error(message), { code })

describe('errors of RabbitMQ', () => {
  it.for([
    [new Error('connect ECONNREFUSED'), 'unavailable', true],
    [amqp(320, 'CONNECTION_FORCED'), 'unavailable', true],
    [amqp(404, 'NOT_FOUND'), 'unavailable', true],
    [amqp(403, 'ACCESS_REFUSED'), 'refused', true],
    [amqp(405, 'RESOURCE_LOCKED'), 'mismatch', false],
    [amqp(406, 'PRECONDITION_FAILED'), 'mismatch', false],
    [new Error('Handshake terminated by server: 403 (ACCESS-REFUSED)'), 'refused', true],
    [new Error('Handshake terminated by server: 530 (NOT-ALLOWED)'), 'refused', true],
    [new Error('Expected ConnectionOpenOk; got <ConnectionClose channel:0>'), 'refused', true],
  ] as const)('%s is %s', ([cause, kind, retryable], { expect }) => {
    const error = toTransportError('declare "x"', cause, 'x')
    expect(error).toMatchObject({
      code: 'binder.transport',
      kind,
      retryable,
      transport: 'rabbitmq',
      destination: 'x',
      cause,
    })
    expect(error.message).toContain(`could not declare "x": ${cause.message}. `)
  })

  it.for([
    [new Error('connect ECONNREFUSED'), 'Check that RabbitMQ is up'],
    [amqp(404, 'NOT_FOUND - no queue'), "Make it as binder.describe() says, or use provision: 'create'"],
    [new Error('Expected ConnectionOpenOk; got <ConnectionClose channel:0>'), 'Check the virtual host'],
    [new TypeError('rabbitTransport.tls: expected'), 'Check what `tls` and `connect` of rabbitTransport give'],
    [
      new Error('Client network socket disconnected before secure TLS connection was established'),
      'this port speaks TLS, as amqps:// says',
    ],
    [amqp(403, 'ACCESS_REFUSED'), 'Grant the user configure, write and read on it'],
  ] as const)('name the place to look: %s', ([cause, remedy], { expect }) => {
    expect(toTransportError('connect', cause).message).toContain(remedy)
  })

  it('are not wrapped twice', ({ expect }) => {
    const first = toTransportError('connect', new Error('x'))
    expect(toTransportError('subscribe', first)).toBe(first)
  })
})
