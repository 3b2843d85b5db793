// oxlint-disable no-restricted-imports -- inside of the core: how answers of Redis are read has no public name
import { expect, test } from 'vitest'
import { failureKind } from '../../../core/redis/classify-errors.ts'
import { redactCommandArguments } from '../../../core/redis/redact-command-arguments.ts'

const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' })

test.each([
  [new Error("Stream isn't writeable and enableOfflineQueue options is false"), 'not_sent'],
  // ioredis says so of what was sent, too.
  [new Error('Connection is closed.'), 'no_answer'],
  [new Error('Socket timeout. Expecting data, but did not receive any in 1000ms.'), 'no_answer'],
  ['no error at all', 'no_answer'],
  [reply('OOM command not allowed'), 'retryable'],
  [reply('ERR Error running script (call to f_1): @user_script:1: -READONLY You can not write'), 'retryable'],
  [reply('WRONGTYPE Operation against a key'), 'refused'],
])('a command that ends with %s is %s', (error, kind) => {
  expect(failureKind(error)).toBe(kind)
})

test('what was sent is taken off an error and all errors in it, and the name of the command stays', () => {
  const sent = (message: string, fields: object = {}): Error =>
    Object.assign(new Error(message), { command: { name: 'auth', args: ['S3CR3T'] }, ...fields })
  const unknown = sent("ERR unknown command 'AUTH', with args beginning with: 'S3CR3T'")
  const error = sent('closed', {
    cause: sent('the cause', { args: ['S3CR3T'] }),
    lastNodeError: sent('of a node', { cause: unknown }),
    previousErrors: [sent('before')],
    errors: [sent('one of several')],
  })
  expect(redactCommandArguments(error)).toBe(error)
  const { cause, lastNodeError, previousErrors, errors } = error as Error & {
    [name in 'lastNodeError' | 'previousErrors' | 'errors']: never
  }
  const all = [error, cause, lastNodeError, previousErrors[0], errors[0], unknown] as unknown as Error[]
  expect(all.map((each) => (each as unknown as { command: unknown }).command)).toEqual(
    all.map(() => ({ name: 'auth' })),
  )
  for (const each of all) expect(`${JSON.stringify(each)} ${each.stack}`).not.toContain('S3CR3T')
})
