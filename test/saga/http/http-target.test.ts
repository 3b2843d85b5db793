import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { defineBranch } from 'concordat/saga/global'
import { httpTarget } from 'concordat/saga/http'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { HttpTargetOptions } from '../../support/inside/saga.ts'

const channel = defineChannel('bank.commands', { payload: z.object({ account: z.string() }) })
const url = 'https://bank.example/participants'
const input = z.object({ account: z.string() })
const request = ({ input: { account } }: { readonly input: { readonly account: string } }) => ({ account })

describe('httpTarget', () => {
  test.for<[string, object]>([
    ['a URL without a protocol', { url: 'bank.example/x' }],
    ['another protocol', { url: 'file:///etc/passwd' }],
    ['a password in the URL', { url: 'https://ann:s3cret@bank.example' }],
    ['no URL', {}],
    ['headers that are no function', { url, headers: { authorization: 's3cret' } }],
    ['no time', { url, requestTimeoutMs: 0 }],
    ['an unknown option', { url, redirect: 'follow' }],
  ])('%s is refused by name, and no secret is shown', ([, options]) => {
    const make = (): unknown => httpTarget(channel, options as HttpTargetOptions)
    expect(make).toThrow(/httpTarget\("bank.commands"\)/)
    expect(make).not.toThrow(/s3cret@/)
  })

  test('something that is no channel is refused', () => {
    expect(() => httpTarget({} as typeof channel, { url })).toThrow(/httpTarget/)
  })

  test('a step has the graph of one whose participant is called by message: it may move while sagas are open', () => {
    const graphs = [channel, httpTarget(channel, { url }), httpTarget(channel, { url: () => `${url}/2` })].map(
      (to) =>
        defineSaga('pay', { version: 1, input })
          .tcc('move', { to, request })
          .command('note', { to, request, compensate: 'none' })
          .each('more', { to, over: () => [1], request, compensate: 'none' }).graphHash,
    )
    expect(new Set(graphs).size).toBe(1)
  })

  test('its payload is checked by the channel’s schema', () => {
    const to = httpTarget(channel, { url })
    defineSaga('pay', { version: 1, input })
      // @ts-expect-error -- the channel wants an account
      .tcc('move', { to, request: () => ({ name: 'x' }) })
    const branch = defineBranch('move', { to, reply: z.object({ held: z.number() }) })
    expect(branch.name).toBe('move')
  })

  test('is repeated after 10 seconds, and each minute: a call lost with a process waits no longer', () => {
    const { steps } = defineSaga('pay', { version: 1, input }).tcc('move', {
      to: httpTarget(channel, { url }),
      request,
    })
    expect(steps[0]).toMatchObject({ timeoutMs: 10_000, maxPauseMs: 60_000 })
  })
})
