import { BinderError, defineChannel, type EncodedMessage } from 'concordat/binder'
import { expect, it } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- a reply as only another program writes it
import { readReply } from '../../../binder/requests/request-reply-format.ts'

const told = defineChannel('prices.told', { payload: z.object({ cents: z.number() }) })

/** Reply of a responder that failed. */
function reply(body: string): EncodedMessage {
  return {
    id: 'r-1',
    destination: told.name,
    key: null,
    type: told.name,
    source: 'prices',
    contentType: 'application/json',
    time: 0,
    headers: { 'reply-status': 'failed' },
    body: new TextEncoder().encode(body),
  }
}

it('the text of another program about its failure is bounded', async () => {
  const said = { reason: 'r'.repeat(100_000), message: 'm'.repeat(100_000) }
  const error = await readReply('prices.asked', told, reply(JSON.stringify(said))).catch((failed: unknown) => failed)
  expect(error).toMatchObject({ code: 'binder.request_failed' })
  expect((error as BinderError<'binder.request_failed'>).reason).toBe('r'.repeat(128))
  expect((error as BinderError).message.length).toBeLessThan(1_500)
})

it('a failure without our header is a failure too', async () => {
  const failed = { reason: 'failed', message: expect.stringContaining('it gave no reason') }
  await expect(readReply('prices.asked', told, reply('<html>'))).rejects.toMatchObject(failed)
})
