import { createTokens, type TokenStore, type Tokens } from 'concordat/locks'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../support/until.ts'

export interface TokensUnderTest {
  /** Stores of several processes, on the same server: at least two, the same one where there can be one only. */
  readonly stores: readonly TokenStore[]
  /** Everything that the server stores, as text. */
  contents(): Promise<string>
  close(): Promise<void>
}

const PURPOSE = 'password-reset'
const refused = { code: 'tokens.refused', retryable: false }

/** Behaviour common to every store of tokens. */
export function tokensConformance(name: string, open: () => Promise<TokensUnderTest>): void {
  describe(`tokens on ${name}`, () => {
    let under: TokensUnderTest
    let all: readonly Tokens[]
    let tokens: Tokens
    const lines: Array<Readonly<Record<string, unknown>>> = []
    const hear = (fields: Readonly<Record<string, unknown>>): void => void lines.push(fields)
    const logger = { debug: hear, info: hear, warn: hear, error: hear }
    const reasons = () => lines.splice(0).map(({ reason }) => reason)

    beforeAll(async () => {
      under = await open()
      all = under.stores.map((store) => createTokens({ store, logger }))
      tokens = all[0] as Tokens
    }, 180_000)
    afterAll(async () => {
      for (const each of all) await each.close()
      await under.close()
    })

    test('a token gives its payload once', async () => {
      const before = Date.now()
      const { token, expiresAt } = await tokens.issue(PURPOSE, { user: 'u-1', n: [1, null] }, 60_000)
      expect(token).toMatch(/^[\w-]{43}$/)
      expect(expiresAt).toBeGreaterThan(before + 50_000)
      expect(expiresAt).toBeLessThan(Date.now() + 70_000)
      expect(await tokens.redeem(PURPOSE, token)).toEqual({ user: 'u-1', n: [1, null] })
      await expect(tokens.redeem(PURPOSE, token)).rejects.toMatchObject(refused)
      expect(reasons()).toEqual(['used'])
    })

    test('exactly one of fifty simultaneous redeemers of a token gets it', async () => {
      for (let round = 0; round < 5; round++) {
        const { token } = await tokens.issue(PURPOSE, round, 60_000)
        const results = await Promise.allSettled(
          Array.from({ length: 50 }, (_, n) => (all[n % all.length] as Tokens).redeem(PURPOSE, token)),
        )
        expect(results.filter(({ status }) => status === 'fulfilled')).toEqual([{ status: 'fulfilled', value: round }])
        for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject(refused)
      }
      lines.length = 0
    })

    test('the answer does not reveal why a token is invalid, and the log does', async () => {
      const { token } = await tokens.issue(PURPOSE, 1, 60_000)
      await tokens.redeem(PURPOSE, token)
      const short = await tokens.issue(PURPOSE, 1, 1)
      await until('it is over', () => Date.now() > short.expiresAt + 5)
      const said = new Set<string>()
      for (const bad of [token, short.token, 'x'.repeat(43), 'short', '', undefined, null, 7, {}, 'x'.repeat(1e6)]) {
        const error: unknown = await tokens.redeem(PURPOSE, bad).catch((thrown: unknown) => thrown)
        expect(error).toMatchObject(refused)
        said.add(JSON.stringify([error, (error as Error).message, Object.keys(error as Error)]))
      }
      expect(said.size).toBe(1)
      expect(reasons()).toEqual(['used', 'expired', ...Array.from({ length: 8 }, () => 'unknown')])
    })

    test('a token of one purpose is invalid for another, and stays valid', async () => {
      const { token } = await tokens.issue(PURPOSE, 'mine', 60_000)
      await expect(tokens.redeem('invitation', token)).rejects.toMatchObject(refused)
      expect(await tokens.redeem(PURPOSE, token)).toBe('mine')
      expect(reasons()).toEqual(['unknown'])
    })

    test('the server never has a token, and forgets a payload that was handed out', async () => {
      const { token } = await tokens.issue(PURPOSE, { marked: 'payload-of-a-used-token' }, 60_000)
      expect(await under.contents()).not.toContain(token)
      await tokens.redeem(PURPOSE, token)
      expect(await under.contents()).not.toContain('payload-of-a-used-token')
      expect(JSON.stringify(lines)).not.toContain(token)
    })

    test.each([
      ['a purpose', () => tokens.issue('a b', 1, 1), 'tokens.issue.purpose: expected 1 to 100 characters'],
      ['a time', () => tokens.issue('a', 1, 0), 'tokens.issue.ttlMs: expected a whole number >= 1'],
      ['no payload', () => tokens.issue('a', undefined, 1), 'tokens.issue.payload: expected a value that JSON has'],
      [
        'a large payload',
        () => tokens.issue('a', 'x'.repeat(70_000), 1),
        'tokens.issue.payload: expected at most 65536 bytes',
      ],
      [
        'an option',
        () => tokens.redeem('a', 'b', { transaction: 1 } as never),
        'tokens.redeem.transaction: expected one of tx',
      ],
    ])('refuses %s that cannot be', async (_, call, message) => {
      await expect(call()).rejects.toThrow(message)
    })
  })
}
