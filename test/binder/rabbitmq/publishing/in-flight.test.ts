import { expect, test } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- the broker's answers arrive together only by chance; one by one: publish.int.test.ts
import { InFlight } from '../../../../binder/rabbitmq/publishing/in-flight.ts'
// oxlint-disable-next-line no-restricted-imports -- the same
import { PublishCall } from '../../../../binder/rabbitmq/publishing/publish-call.ts'

test('a message that is in flight twice is marked twice when the broker sends both back before it confirms them', () => {
  const message = {
    id: 'm1',
    destination: 'orders',
    key: null,
    type: 'orders',
    source: 'shop',
    contentType: 'application/json',
    time: 0,
    headers: {},
    body: null,
  }
  const { entries } = new PublishCall([message, message], 1_000, () => {})
  const inFlight = new InFlight()
  for (const entry of entries) inFlight.add(entry)
  const back = {
    content: new Uint8Array(),
    fields: { deliveryTag: 1, redelivered: false, exchange: 'orders', routingKey: '' },
    properties: { messageId: 'm1' },
  }
  inFlight.returned(back)
  inFlight.returned(back)
  expect(entries.map(({ returned }) => returned)).toEqual([true, true])
})
