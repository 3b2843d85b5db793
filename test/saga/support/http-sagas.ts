/** Definitions that the processes of `http-process.ts` run. */
import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { httpTarget } from 'concordat/saga/http'
import { z } from 'zod'
import { FAST } from './world.ts'

export interface HttpJob {
  readonly role: 'bank' | 'front' | 'joiner'
  /** Address of the database. */
  readonly url: string
  readonly run: string
  readonly instance: string
  /** Port to listen on; 0: any. */
  readonly port: number
  readonly bank: string
  readonly ids: readonly string[]
}

export const httpMoves = defineChannel('bank.moves', {
  payload: z.object({ account: z.string(), refuse: z.boolean() }),
})

export function httpSagas({ bank }: Pick<HttpJob, 'bank'>) {
  const to = httpTarget(httpMoves, { url: bank, retry: { initialMs: 20, maxMs: 200 }, requestTimeoutMs: 2_000 })
  const calls = { to, timeoutMs: 1_000, retry: FAST, compensationRetry: FAST, confirmRetry: FAST } as const
  const pay = defineSaga('pay', { version: 1, input: z.object({ refuse: z.boolean() }) })
    .tcc('withdraw', { ...calls, request: () => ({ account: 'a', refuse: false }) })
    .tcc('deposit', { ...calls, request: ({ input }) => ({ account: 'b', refuse: input.refuse }) })
  const move = defineBranch('move', calls)
  const code = defineGlobalTransaction('code', { input: z.object({}), branches: [move], timeoutMs: 60_000 })
  return { pay, move, code, sagas: [pay, code] }
}
